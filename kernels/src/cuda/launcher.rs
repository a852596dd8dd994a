//! The seam between what is to be computed and what computes it: device memory, copies, launches by name.
//!
//! Everything above it (placing nodes, cutting work, uploading, collecting) is the same for a GPU and for the tests, where
//! the same kernels run on the processor.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use super::CudaError;

/// A device with kernels loaded: memory, copies and launches. All methods may be called from any thread.
///
/// A stream is a queue: what is put into one runs in order, different ones may overlap.
pub trait Launcher: Send + Sync {
    /// The device in words, for reports.
    fn describe(&self) -> String;

    /// Bytes of device memory that are free now.
    ///
    /// # Errors
    /// The driver's.
    fn free_bytes(&self) -> Result<u64, CudaError>;

    /// Streams for a new user, at least one. Users share streams only where there are more of them than the device has.
    fn take_streams(&self) -> Vec<usize>;

    /// Bars times combinations that it simulates in about half a second: how long a launch may take, and so how long a
    /// cancellation may have to wait.
    fn bars_per_launch(&self) -> u64;

    /// Takes memory of at least one byte. Its contents are not defined.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], or the driver's.
    fn allocate(&self, bytes: u64) -> Result<Memory, CudaError>;

    /// Copies `bytes` to `offset` in `memory`, in order with the stream. The source may be reused at once.
    ///
    /// # Errors
    /// The copy would leave the memory; the driver's.
    fn upload(&self, stream: usize, memory: &Memory, offset: u64, bytes: &[u8]) -> Result<(), CudaError>;

    /// Copies from `offset` in `memory` after what was queued before in the stream, and waits for it.
    ///
    /// # Errors
    /// The copy would leave the memory; the driver's, those of launches queued before included.
    fn download(
        &self,
        stream: usize,
        memory: &Memory,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), CudaError>;

    /// Waits until a stream is empty.
    ///
    /// # Errors
    /// Those of the launches in it.
    fn synchronize(&self, stream: usize) -> Result<(), CudaError>;

    /// Queues a kernel over `grid` blocks of `block` threads with one struct of 8-byte fields as its argument.
    ///
    /// # Errors
    /// [`CudaError::UnknownKernel`]; the driver's.
    ///
    /// # Safety
    /// `args` are the fields of the kernel's argument struct, in order; every address in them is of [`Memory`] of this
    /// launcher that is large enough for what the kernel does with it and lives until the stream has been waited for.
    unsafe fn launch(
        &self,
        stream: usize,
        kernel: &'static str,
        grid: [u32; 3],
        block: u32,
        args: &[u64],
    ) -> Result<(), CudaError>;
}

/// Device memory, given back when dropped.
pub struct Memory {
    address: u64,
    bytes: u64,
    _owner: Box<dyn Any + Send + Sync>,
}

impl Memory {
    /// Wraps memory that `owner` gives back when dropped.
    ///
    /// # Safety
    /// `bytes` bytes from `address` on belong to nobody else until `owner` is dropped, and dropping it waits for whatever
    /// is queued on them.
    pub unsafe fn new(address: u64, bytes: u64, owner: Box<dyn Any + Send + Sync>) -> Memory {
        Memory { address, bytes, _owner: owner }
    }

    /// Where it begins, as kernels see it.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The address `offset` bytes in, if `len` bytes from there are within.
    pub fn range(&self, offset: u64, len: u64) -> Option<u64> {
        (offset.checked_add(len)? <= self.bytes).then(|| self.address + offset)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.bytes)
    }
}

/// Numbers that go to and from a device as they are.
pub(crate) trait Element: Copy + Default {
    /// The bytes of a slice, in the machine's order, which is the device's.
    fn bytes(values: &[Self]) -> &[u8];
    /// The same, to be overwritten.
    fn bytes_mut(values: &mut [Self]) -> &mut [u8];
}

macro_rules! element {
    ($($number:ty),+) => {
        $(impl Element for $number {
            fn bytes(values: &[Self]) -> &[u8] {
                // SAFETY: the slice's own memory, and a plain number has no padding.
                unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
            }

            fn bytes_mut(values: &mut [Self]) -> &mut [u8] {
                // SAFETY: as above, and every bit pattern is a value of the type.
                unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
            }
        })+
    };
}
element!(f64, f32, u64, u32);

/// `len` numbers on a device.
#[derive(Debug)]
pub(crate) struct Array<T> {
    memory: Memory,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Array<T> {
    /// Takes memory for `len` numbers, not yet written.
    pub(crate) fn new(launcher: &dyn Launcher, len: usize) -> Result<Array<T>, CudaError> {
        let bytes = (len as u64).checked_mul(size_of::<T>() as u64);
        let bytes = bytes.ok_or(CudaError::Bounds { doing: "an allocation" })?;
        Ok(Array { memory: launcher.allocate(bytes.max(1))?, len, element: PhantomData })
    }

    /// A copy of these numbers on the device.
    pub(crate) fn of(launcher: &dyn Launcher, stream: usize, values: &[T]) -> Result<Array<T>, CudaError> {
        let array = Array::new(launcher, values.len())?;
        array.write(launcher, stream, values)?;
        Ok(array)
    }

    /// Overwrites the first numbers.
    pub(crate) fn write(
        &self,
        launcher: &dyn Launcher,
        stream: usize,
        values: &[T],
    ) -> Result<(), CudaError> {
        if values.is_empty() {
            return Ok(());
        }
        launcher.upload(stream, &self.memory, 0, T::bytes(values))
    }

    /// Reads the first numbers back, after everything queued in the stream.
    pub(crate) fn read(
        &self,
        launcher: &dyn Launcher,
        stream: usize,
        values: &mut [T],
    ) -> Result<(), CudaError> {
        if values.is_empty() {
            return Ok(());
        }
        launcher.download(stream, &self.memory, 0, T::bytes_mut(values))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.address()
    }
}

/// An array that grows and is used again from one launch to the next.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    array: Option<Array<T>>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Buffer { array: None }
    }
}

impl<T: Element> Buffer<T> {
    /// At least `len` numbers, contents not defined. The old memory is given back before more is taken.
    pub(crate) fn reserve(&mut self, launcher: &dyn Launcher, len: usize) -> Result<&Array<T>, CudaError> {
        if self.array.as_ref().is_none_or(|array| array.len() < len) {
            self.array = None;
        }
        match &mut self.array {
            Some(array) => Ok(array),
            none => Ok(none.insert(Array::new(launcher, len)?)),
        }
    }

    /// At least these numbers on the device.
    pub(crate) fn upload(
        &mut self,
        launcher: &dyn Launcher,
        stream: usize,
        values: &[T],
    ) -> Result<&Array<T>, CudaError> {
        let array = self.reserve(launcher, values.len())?;
        array.write(launcher, stream, values)?;
        Ok(array)
    }
}
