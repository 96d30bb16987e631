//! What the key-value store knows without a system: everything but the fork and the counter.
//!
//! ```text
//!   client ── request ──▶ store ── reply ──▶ checked against the model
//!     │                     │
//!     │ replayed            │ written at the snapshot
//!     ▼                     ▼
//!   model  ── checks ──▶  image
//! ```
//!
//! The client's requests follow from a seed, and a value from its key and the number of times that
//! it was set. So what the store held at any request is known without asking the store: this is
//! what an image is compared with.
//!
//! The program that uses it is `kvd`.

pub mod client;
pub mod histogram;
pub mod image;
pub mod model;
pub mod queue;
pub mod store;
