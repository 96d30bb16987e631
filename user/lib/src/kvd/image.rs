//! The image that a snapshot leaves: the store as a run of bytes, and the proof that it is right.
//!
//! ```text
//!   "GRAFTKVD"  count: u64                                   numbers are little-endian
//!   key bytes: u16  value bytes: u16  key  value  checksum: u64      for each record
//!   sum of all checksums: u64
//! ```

use alloc::collections::TryReserveError;
use core::fmt;

use crate::kvd::model::{self, KEY, Model, VALUE_MAX};
use crate::kvd::store::{RECORD_MAX, Store, StoreError, checksum, zeroes};

const MAGIC: &[u8; 8] = b"GRAFTKVD";
/// Bytes of a record beside key and value.
const FRAME: usize = 12;

/// Why there is no image, or why it is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It is longer than the memory for it.
    NoRoom,
    /// The store refuses to be read.
    Store(StoreError),
    /// There is no memory to check it in.
    NoMemory,
    /// It ends early.
    Short,
    /// Something stands after its end.
    Long,
    /// Its header has another magic number or count.
    Header,
    /// The record at this offset has a key that the store never had, or had once.
    Key(usize),
    /// The record with this key's number has a value of another length.
    Length(usize),
    /// In the value of this key's number, the byte with this index differs.
    Value(usize, usize),
    /// The record with this key's number has another checksum.
    Checksum(usize),
    /// The sum at the end differs.
    Sum,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::NoRoom => f.write_str("the image is longer than the memory for it"),
            ImageError::Store(error) => error.fmt(f),
            ImageError::NoMemory => f.write_str("no memory is left to check the image in"),
            ImageError::Short => f.write_str("the image ends early"),
            ImageError::Long => f.write_str("something stands after the image's end"),
            ImageError::Header => f.write_str("the image's header differs"),
            ImageError::Key(offset) => write!(f, "the image's record at {offset:#x} has a wrong key"),
            ImageError::Length(number) => write!(f, "key {number} has a value of another length in the image"),
            ImageError::Value(number, byte) => write!(f, "key {number} differs in byte {byte} in the image"),
            ImageError::Checksum(number) => write!(f, "key {number} has another checksum in the image"),
            ImageError::Sum => f.write_str("the sum at the image's end differs"),
        }
    }
}

impl core::error::Error for ImageError {}

impl From<StoreError> for ImageError {
    fn from(error: StoreError) -> ImageError {
        ImageError::Store(error)
    }
}

impl From<TryReserveError> for ImageError {
    fn from(_: TryReserveError) -> ImageError {
        ImageError::NoMemory
    }
}

/// Most bytes that an image of so many keys has.
pub const fn bytes(keys: usize) -> usize {
    MAGIC.len() + 8 + keys * (FRAME + KEY + VALUE_MAX) + 8
}

/// Writes the store's image to the beginning of `image`. Returns its length.
pub fn write(store: &Store, image: &mut [u8]) -> Result<usize, ImageError> {
    let room = image.len();
    let mut rest = image;
    let mut put = |bytes: &[u8]| {
        let (here, after) = core::mem::take(&mut rest).split_at_mut_checked(bytes.len()).ok_or(ImageError::NoRoom)?;
        here.copy_from_slice(bytes);
        rest = after;
        Ok::<usize, ImageError>(rest.len())
    };
    put(MAGIC)?;
    put(&(store.len() as u64).to_le_bytes())?;
    let mut sum = 0u64;
    for record in store.records() {
        let record = record?;
        put(&(record.key.len() as u16).to_le_bytes())?;
        put(&(record.value.len() as u16).to_le_bytes())?;
        put(record.key)?;
        put(record.value)?;
        put(&record.checksum.to_le_bytes())?;
        sum = sum.wrapping_add(record.checksum);
    }
    Ok(room - put(&sum.to_le_bytes())?)
}

/// Compares every byte of an image with what it must be for a store that the model describes, and every byte after its
/// end with zero. Returns its length.
pub fn check(image: &[u8], model: &Model) -> Result<usize, ImageError> {
    let mut reader = Reader { image, at: 0 };
    if reader.array()? != *MAGIC || u64::from_le_bytes(reader.array()?) != model.keys() as u64 {
        return Err(ImageError::Header);
    }
    let mut seen = zeroes::<bool>(model.keys())?;
    let mut sum = 0u64;
    for _ in 0..model.keys() {
        let start = reader.at;
        let lengths: [u8; 4] = reader.array()?;
        let length = |at: usize| usize::from(u16::from_le_bytes([lengths[at], lengths[at + 1]]));
        let number = model::number(reader.take(length(0))?).ok_or(ImageError::Key(start))?;
        let version = model.version(number).ok_or(ImageError::Key(start))?;
        if core::mem::replace(&mut seen[number], true) {
            return Err(ImageError::Key(start));
        }
        let mut buffer = [0; RECORD_MAX];
        let expected = model::value(number, version, &mut buffer);
        if length(2) != expected.len() {
            return Err(ImageError::Length(number));
        }
        let value = reader.take(expected.len())?;
        if value != expected {
            let byte = value.iter().zip(expected).take_while(|(one, other)| one == other).count();
            return Err(ImageError::Value(number, byte));
        }
        let expected = checksum(&model::key(number), expected);
        if u64::from_le_bytes(reader.array()?) != expected {
            return Err(ImageError::Checksum(number));
        }
        sum = sum.wrapping_add(expected);
    }
    if u64::from_le_bytes(reader.array()?) != sum {
        return Err(ImageError::Sum);
    }
    if image[reader.at..].iter().any(|byte| *byte != 0) { Err(ImageError::Long) } else { Ok(reader.at) }
}

struct Reader<'a> {
    image: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], ImageError> {
        let taken = self.image.get(self.at..self.at + bytes).ok_or(ImageError::Short)?;
        self.at += bytes;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        self.take(N)?.try_into().map_err(|_| ImageError::Short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvd::client::{Client, Operation};
    use std::vec::Vec;

    const KEYS: usize = 6;
    const CLIENT: Client = Client::new(9, KEYS, 50);

    /// The store after this many requests.
    fn store(requests: u64) -> Store {
        let mut store = Store::new(KEYS).unwrap();
        let mut set = |number, version| {
            store.set(&model::key(number), model::value(number, version, &mut [0; RECORD_MAX])).unwrap();
        };
        (0..KEYS).for_each(|number| set(number, 0));
        let (mut client, mut model) = (CLIENT, Model::new(KEYS).unwrap());
        for _ in 0..requests {
            let operation = client.next();
            let version = model.note(operation);
            if let Operation::Set(number) = operation {
                set(number, version);
            }
        }
        store
    }

    fn image(store: &Store) -> Vec<u8> {
        let mut image = vec![0; bytes(KEYS)];
        let length = write(store, &mut image).unwrap();
        image.truncate(length);
        image
    }

    fn model(requests: u64) -> Model {
        Model::replay(CLIENT, requests).unwrap()
    }

    #[test]
    fn an_image_is_right_for_its_moment_and_no_other() {
        for requests in 0..60 {
            let image = image(&store(requests));
            for other in 0..60 {
                let same_state = model(requests) == model(other);
                assert_eq!(check(&image, &model(other)).is_ok(), same_state, "{requests}, {other}");
            }
        }
    }

    #[test]
    fn one_changed_byte_is_found_wherever_it_is() {
        let mut image = image(&store(40));
        for at in 0..image.len() {
            for bit in 0..8 {
                image[at] ^= 1 << bit;
                assert!(check(&image, &model(40)).is_err(), "bit {bit} of byte {at}");
                image[at] ^= 1 << bit;
            }
        }
        assert_eq!(check(&image, &model(40)), Ok(image.len()));
    }

    #[test]
    fn the_error_says_where_a_value_differs() {
        let mut image = image(&store(0));
        // The header, the record's lengths, its key; then its first value's eleventh byte.
        image[16 + 4 + KEY + 10] ^= 1;
        assert_eq!(check(&image, &model(0)), Err(ImageError::Value(0, 10)));
    }

    #[test]
    fn an_image_ends_where_it_must() {
        let mut image = image(&store(0));
        for length in 0..image.len() {
            assert_eq!(check(&image[..length], &model(0)), Err(ImageError::Short), "{length}");
        }
        let length = image.len();
        image.extend([0; 100]);
        assert_eq!(check(&image, &model(0)), Ok(length));
        image[length + 99] = 1;
        assert_eq!(check(&image, &model(0)), Err(ImageError::Long));
    }

    #[test]
    fn one_record_in_place_of_another_is_found() {
        let whole = image(&store(0));
        let length = |at: usize| usize::from(u16::from_le_bytes([whole[at], whole[at + 1]]));
        let first = FRAME + length(16) + length(18);
        let second = FRAME + length(16 + first) + length(18 + first);
        let twice = [&whole[..16 + first], &whole[16..16 + first], &whole[16 + first + second..]].concat();
        assert_eq!(check(&twice, &model(0)), Err(ImageError::Key(16 + first)));
    }

    #[test]
    fn memory_that_is_too_short_is_refused() {
        let store = store(0);
        let length = image(&store).len();
        for room in [0, 7, 100, length - 1] {
            assert_eq!(write(&store, &mut vec![0; room]), Err(ImageError::NoRoom), "{room}");
        }
    }
}
