//! Counted references to objects, and their end.
//!
//! An object may hold the last reference to another, that one to a third, and so on: a chain as long as memory permits.
//! No drop recurses along it. An object that loses its last reference while its core is dropping another one is put on
//! a list of that core, through its header, and the outermost drop works the list off.

use super::parting::{CLOSED, EMPTY, PARTING};
use crate::arch;
use crate::memory::frames;
use crate::object::list::Pointer;
use crate::sync::{AtomicU32, Ordering, fence};
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, offset_of, size_of};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use graft_abi::{Error, PAGE_SIZE};

/// What all objects of one type have in common. Each type has one in a `static` of its own, whose address tells the
/// type.
pub struct Kind<T: Object> {
    common: Common,
    of: PhantomData<fn() -> T>,
    /// Keeps the compiler from making a constant of it, which could share its address with another one.
    _in_place: UnsafeCell<()>,
}

// SAFETY: nothing in it ever changes.
unsafe impl<T: Object> Sync for Kind<T> {}

struct Common {
    name: &'static str,
    /// Drops an object of this kind, see [`end`].
    end: unsafe fn(NonNull<Header>),
}

impl<T: Object> Kind<T> {
    /// The kind with this name, for a person.
    pub const fn new(name: &'static str) -> Kind<T> {
        Kind { common: Common { name, end: end::<T> }, of: PhantomData, _in_place: UnsafeCell::new(()) }
    }
}

/// Something that handles and [`Ref`]s can lead to. A new kind of object is a type that implements this, in a file of
/// its own.
pub trait Object: Sync + Sized + 'static {
    /// Its kind: the one `static` of the type.
    fn kind() -> &'static Kind<Self>;

    /// Called when the last reference is gone, before the object is dropped.
    fn forget(&self) {}
}

/// Writes the fields of a structure to where it stays, one by one, in the order in which they are named. A structure
/// that is made as a value first is copied there from the stack, zeroes and all.
///
/// For an `unsafe` block: the place is good for writes of the structure.
macro_rules! write_fields {
    ($place:expr, $structure:ident { $($field:ident: $value:expr,)* }) => {{
        let place: *mut $structure = $place;
        // Does not compile when a field is missing.
        let _ = |$structure { $($field: _),* }: &$structure| {};
        $((&raw mut (*place).$field).write($value);)*
    }};
}
pub(crate) use write_fields;

#[repr(C)]
struct Header {
    references: AtomicU32,
    kind: &'static Common,
    /// The object that is to be dropped after this one. Without meaning while there are references.
    next: Cell<*mut ()>,
}

#[repr(C)]
struct Inner<T> {
    header: Header,
    object: T,
}

/// Bytes.
const CACHE_LINE: usize = 64;

/// A counted reference to an object of a known kind.
#[repr(transparent)]
pub struct Ref<T: Object>(NonNull<Inner<T>>, PhantomData<Inner<T>>);

// SAFETY: the count is atomic and objects are `Sync`; the last reference may be dropped on any core,
// because a frame belongs to none.
unsafe impl<T: Object> Send for Ref<T> {}
// SAFETY: as above: a shared `Ref` gives no more than a shared object.
unsafe impl<T: Object> Sync for Ref<T> {}

impl<T: Object> Ref<T> {
    /// Where in its frame an object is.
    pub const OFFSET: usize = offset_of!(Inner<T>, object);

    /// Makes an object. `make` is given the rest of its frame, from a cache line's start on, for as long as the object
    /// lives.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when no frame is left.
    #[inline(always)]
    pub fn new(make: impl FnOnce(&'static mut [MaybeUninit<u64>]) -> T) -> Result<Ref<T>, Error> {
        let (place, rest) = Self::place()?;
        // SAFETY: the whole object is written.
        unsafe {
            place.write(make(rest));
            Ok(Self::placed(place))
        }
    }

    /// A place for an object that is large enough to be built where it stays, see `write_fields`, and the rest of its
    /// frame as for [`new`](Self::new). Lost unless it becomes an object ([`placed`](Self::placed)).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when no frame is left.
    #[inline(always)]
    pub fn place() -> Result<(NonNull<T>, &'static mut [MaybeUninit<u64>]), Error> {
        const { assert!(size_of::<Inner<T>>() <= PAGE_SIZE) };
        let frame = frames::allocate_object().ok_or(Error::OutOfMemory)?.cast::<Inner<T>>();
        let used = size_of::<Inner<T>>().next_multiple_of(CACHE_LINE);
        // SAFETY: the frame is ours alone and aligned more strictly than any type in it. The rest lies
        // behind the object and is handed out once; "static" means until the object is dropped, which
        // is where it is kept. A frame is freed only after that.
        unsafe {
            let rest = frame.cast::<MaybeUninit<u64>>().add(used / 8);
            let rest = core::slice::from_raw_parts_mut(rest.as_ptr(), (PAGE_SIZE - used) / 8);
            let header =
                Header { references: AtomicU32::new(1), kind: &T::kind().common, next: Cell::new(ptr::null_mut()) };
            (&raw mut (*frame.as_ptr()).header).write(header);
            Ok((NonNull::new_unchecked(&raw mut (*frame.as_ptr()).object), rest))
        }
    }

    /// The object in a place.
    ///
    /// # Safety
    /// The place is from [`place`](Self::place), is passed here once, and all of the object in it has been written.
    #[inline(always)]
    pub unsafe fn placed(place: NonNull<T>) -> Ref<T> {
        // SAFETY: the place is in an `Inner`.
        Ref(unsafe { place.byte_sub(Self::OFFSET).cast() }, PhantomData)
    }

    /// A reference to an object that another core may be dropping at this moment; `None` if it is gone.
    ///
    /// # Safety
    /// The object's memory stays for the duration of the call, although its last reference may go.
    pub unsafe fn revive(object: &T) -> Option<Ref<T>> {
        let raw = Self::inner(object);
        // SAFETY: the caller vouches for the memory.
        let references = unsafe { &raw.as_ref().header.references };
        let mut count = references.load(Ordering::Relaxed);
        while count != 0 {
            match references.compare_exchange_weak(count, count + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Ref(raw, PhantomData)),
                Err(now) => count = now,
            }
        }
        None
    }

    fn inner(object: &T) -> NonNull<Inner<T>> {
        // SAFETY: objects exist only inside an `Inner`, made by `new`.
        unsafe { NonNull::from(object).byte_sub(Self::OFFSET).cast() }
    }

    /// Forgets which kind of object it is.
    pub fn erase(self) -> AnyRef {
        let raw = self.0.cast();
        core::mem::forget(self);
        AnyRef(raw, PhantomData)
    }

    /// Drops it where that is hardly ever the last reference.
    #[inline(always)]
    pub fn drop_aside(self) {
        let object = self.0.cast::<Header>();
        core::mem::forget(self);
        // SAFETY: this reference keeps the object until here; then the count is 0.
        unsafe {
            if is_last(object) {
                arch::aside(bury, object.as_ptr(), 0);
            }
        }
    }

    /// Whether this is the only reference at the moment.
    pub fn is_only(&self) -> bool {
        // SAFETY: a reference keeps its object.
        unsafe { self.0.as_ref() }.header.references.load(Ordering::Relaxed) == 1
    }

    /// Whether both lead to the same object.
    pub fn is(&self, other: &T) -> bool {
        core::ptr::eq(&**self, other)
    }
}

impl<T: Object> Clone for Ref<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        // Relaxed: the holder of one reference can make another; the count orders nothing until it falls.
        // It cannot overflow: each reference sits in memory, 16 bytes at least, of which there is less.
        // SAFETY: a reference keeps its object.
        unsafe { self.0.as_ref() }.header.references.fetch_add(1, Ordering::Relaxed);
        Ref(self.0, PhantomData)
    }
}

impl<T: Object> Deref for Ref<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a reference keeps its object.
        &unsafe { self.0.as_ref() }.object
    }
}

impl<T: Object> Drop for Ref<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this reference keeps the object until here.
        unsafe { let_go(self.0.cast()) };
    }
}

/// Drops a reference to an object, and with the last one the object.
///
/// # Safety
/// The caller has the reference and does not use it any more.
#[inline(always)]
unsafe fn let_go(object: NonNull<Header>) {
    // SAFETY: the caller's; then the count is 0.
    unsafe {
        if is_last(object) {
            bury(object.as_ptr(), 0);
        }
    }
}

/// Counts a reference less; whether it was the last one.
///
/// # Safety
/// The caller has the reference and uses it no more than to drop the object.
#[inline(always)]
unsafe fn is_last(object: NonNull<Header>) -> bool {
    // SAFETY: the reference still keeps the object.
    let references = unsafe { &object.as_ref().references };
    // Release: what this holder did to the object comes before its end.
    let last = references.fetch_sub(1, Ordering::Release) == 1;
    if last {
        // Acquire: so does what all the others did.
        fence(Ordering::Acquire);
    }
    last
}

/// Drops an object now, or after the one that this core is dropping already.
///
/// # Safety
/// The count is 0, and has become that just now.
#[cold]
unsafe extern "C" fn bury(object: *const Header, _: u64) -> *const () {
    // SAFETY: the caller's.
    let mut object = unsafe { NonNull::new_unchecked(object.cast_mut()) };
    let grave = &PARTING[arch::core_index()].grave;
    let first = grave.get();
    if first != CLOSED {
        // SAFETY: nothing but the list leads to the object.
        unsafe { object.as_ref() }.next.set(first);
        grave.set(object.as_ptr().cast());
        return ptr::null();
    }
    grave.set(EMPTY);
    loop {
        // SAFETY: its count has become 0, and it comes here once: from the caller or out of the list. The kind tells
        // the type.
        unsafe {
            (object.as_ref().kind.end)(object);
        }
        let next = grave.get();
        if next == EMPTY {
            break;
        }
        let Some(next) = NonNull::new(next.cast::<Header>()) else { break };
        // SAFETY: an object stays valid while it stands in the list.
        grave.set(unsafe { next.as_ref() }.next.get());
        object = next;
    }
    grave.set(CLOSED);
    ptr::null()
}

/// Drops an object of type `T` and gives its frame back.
///
/// # Safety
/// It is one, its count is 0, and this is called once.
#[inline(always)]
unsafe fn end<T: Object>(object: NonNull<Header>) {
    let object = object.cast::<Inner<T>>();
    // SAFETY: the count is 0 and `forget` removes what else could lead here, so that nothing reaches the object when it
    // is dropped; the frame came from `allocate_object`.
    unsafe {
        object.as_ref().object.forget();
        ptr::drop_in_place(&raw mut (*object.as_ptr()).object);
        frames::free_object(object.cast());
    }
}

// SAFETY: the count keeps the object, and an object never moves.
unsafe impl<T: Object> Pointer for Ref<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        // Not through a plain reference: the address must be good for the whole frame again.
        // SAFETY: inside the object that this reference keeps.
        let raw = unsafe { self.0.byte_add(Self::OFFSET).cast() };
        core::mem::forget(self);
        raw
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // SAFETY: the address comes from `into_raw`, thus from a live reference.
        Ref(unsafe { raw.byte_sub(Self::OFFSET).cast() }, PhantomData)
    }
}

impl<T: Object> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:p}", T::kind().common.name, self.0)
    }
}

/// A counted reference to an object of any kind: what a handle names.
#[repr(transparent)]
pub struct AnyRef(NonNull<Header>, PhantomData<Header>);

// SAFETY: as for `Ref`; every object is `Sync`.
unsafe impl Send for AnyRef {}

impl AnyRef {
    /// The object, if it is of this kind.
    ///
    /// # Errors
    /// [`Error::WrongObject`] if it is not.
    #[inline(always)]
    pub fn get<T: Object>(&self) -> Result<&Ref<T>, Error> {
        self.as_kind().ok_or(Error::WrongObject)
    }

    /// The object, if it is of this kind.
    #[inline(always)]
    pub fn as_kind<T: Object>(&self) -> Option<&Ref<T>> {
        if !self.is::<T>() {
            return None;
        }
        // SAFETY: both are one address and nothing else, and the kind tells the type.
        Some(unsafe { &*core::ptr::from_ref(self).cast::<Ref<T>>() })
    }

    /// Whether the object is of this kind.
    #[inline(always)]
    fn is<T: Object>(&self) -> bool {
        // SAFETY: a reference keeps its object, whose frame begins with the header.
        ptr::eq(unsafe { self.0.as_ref() }.kind, &T::kind().common)
    }

    /// The same for good; the reference is dropped if the object is of another kind.
    #[inline(always)]
    pub fn into<T: Object>(self) -> Option<Ref<T>> {
        if !self.is::<T>() {
            return None;
        }
        let raw = self.0.cast();
        core::mem::forget(self);
        Some(Ref(raw, PhantomData))
    }
}

impl Clone for AnyRef {
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: a reference keeps its object. For the order see `Ref::clone`.
        unsafe { self.0.as_ref() }.references.fetch_add(1, Ordering::Relaxed);
        AnyRef(self.0, PhantomData)
    }
}

impl Drop for AnyRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this reference keeps the object until here.
        unsafe { let_go(self.0) };
    }
}
