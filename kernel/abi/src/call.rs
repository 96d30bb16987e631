//! Call numbers, the value of `x8`.

/// The immediate of the `svc` instruction that enters a native call.
pub const SVC_IMMEDIATE: u16 = 1;

/// The immediate of the `svc` instruction with which the calls that carry a message are made: `x6`, `x7` and `x9`
/// are arguments, too.
pub const SVC_MESSAGE: u16 = 2;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A system call. The discriminant is the number in `x8`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum Call { $($(#[$doc])* $name = $number,)* }

        impl Call {
            /// Every call there is, in the order of their numbers.
            pub const ALL: &'static [Call] = &[$(Call::$name,)*];

            /// The call with this number.
            #[inline(always)]
            pub const fn from_number(number: u64) -> Option<Call> {
                match number { $($number => Some(Call::$name),)* _ => None }
            }
        }
    };
}

calls! {
    /// `exit(code)`: ends the calling process, all of its threads. Does not return.
    Exit = 0,
    /// `fork(process, share, flags)`: a copy of the process, the caller's own with
    /// [`Handle::SELF`](crate::Handle::SELF). Of its threads the child has the caller alone, with all
    /// of its registers; the memory is that of one moment, whatever other threads write meanwhile. Returns
    /// the child's handle and, in `x1`, its identifier; the child itself sees `x0 = 0` and its own
    /// identifier in `x1`.
    ///
    /// With a snapshot in the place of a process: a process with the snapshot's memory and registers and the
    /// caller's handles. It returns from the call that took the snapshot, with `x0 = 0` and its identifier in `x1`; the
    /// depth of sharing is the snapshot's.
    ///
    /// `flags` is 0 or [`FORK_GUARANTEED`](crate::FORK_GUARANTEED): every copy that the fork may cause will find
    /// memory, or the fork is refused with [`Error::OutOfMemory`](crate::Error::OutOfMemory). Parent, child and all
    /// their further children stay under the guarantee. [`Error::NotAllowed`](crate::Error::NotAllowed) if the caller
    /// has been part of a fork without one.
    Fork = 1,
    /// `spawn(&SpawnRequest)`: a new process with the [segments](crate::Segment) of the request, filled from the caller's
    /// memory, and one thread. Returns its handle and, in `x1`, its identifier. Whatever is refused has left nothing.
    ///
    /// A segment is refused as `map` refuses its pages, with [`Error::Occupied`](crate::Error::Occupied) where it
    /// overlaps one before it; [`Error::BadAddress`](crate::Error::BadAddress) for bytes that the caller cannot read,
    /// or that do not fit into writable memory; entry and stack as by [`ThreadCreate`](Call::ThreadCreate).
    Spawn = 2,
    /// `exec(&SpawnRequest)`: replaces the caller's program, all of its memory at once. The handle list is ignored: the
    /// handles stay. [`Error::NotAllowed`](crate::Error::NotAllowed) while the process has other
    /// threads. Returns only on failure, and then nothing has changed.
    Exec = 3,
    /// `wait(process)`: blocks until the process has ended; `x1` is its packed
    /// [`ExitStatus`](crate::ExitStatus). May be called again: the status stays while a handle does.
    Wait = 4,
    /// `kill(process, code)`: ends another process (or, with `SELF`, the caller).
    Kill = 5,
    /// `yield()`: lets another runnable thread go first.
    Yield = 6,
    /// `sleep(nanoseconds)`: blocks for at least that long.
    Sleep = 7,
    /// `clock()`: nanoseconds since the machine's counter started.
    Clock = 8,
    /// `identify()`: the caller's process identifier.
    Identify = 9,
    /// `thread_create(entry, stack_top, argument, thread_pointer)`: a new thread of the calling
    /// process, which begins at `entry` with `sp = stack_top`, `x0 = argument`, `TPIDR_EL0 =
    /// thread_pointer` and zeroes in every other register, those for floating point included. Returns
    /// its handle, with the rights to wait, to inspect, to schedule and to duplicate. Closing the handle lets the thread
    /// go on.
    ///
    /// [`Error::Unaligned`](crate::Error::Unaligned) unless `entry` is a multiple of 4 and `stack_top`
    /// one of 16; [`Error::BadAddress`](crate::Error::BadAddress) unless `entry` and the 16 bytes below
    /// `stack_top` are user memory. The mapping there is not checked: a thread that cannot run
    /// faults, and the fault ends its process. [`Error::ThreadsExhausted`](crate::Error::ThreadsExhausted)
    /// beyond [`THREADS_MAX`](crate::THREADS_MAX); then, and when there is no handle or no memory
    /// for it, no thread has been made.
    ThreadCreate = 10,
    /// `thread_exit(value)`: ends the calling thread and no other. Does not return. With its last
    /// thread the process ends, as if by `exit(0)`. Its memory, its stack too, stays the process's.
    ThreadExit = 11,
    /// `thread_join(thread)`: blocks until the thread has ended and runs on no core any more. Returns a
    /// [`ThreadEnd`](crate::ThreadEnd): `x0 = 0` and its value in `x1`, or, for a thread that ended
    /// with its process, `x0 = 1` and the process's packed [`ExitStatus`](crate::ExitStatus) in `x1`.
    /// May be called again and by several, from another process too. A thread that joins itself gets
    /// [`Error::NotAllowed`](crate::Error::NotAllowed); threads that join each other wait for ever.
    ThreadJoin = 12,
    /// `snapshot(process, share, flags)`: keeps the caller's memory and the calling thread's registers as they are.
    /// Returns a handle, and 0 in `x1`. `process` is the caller's own; `flags` must be 0.
    Snapshot = 13,
    /// `restore(process, snapshot, value)`: brings memory and registers back to a snapshot. The call that took it
    /// returns once more, with `snapshot` in `x0` and `value`, which must not be 0, in `x1`. Handles stay as they are.
    /// `process` is the caller's own, and has no other thread. Returns only on failure, and then nothing has changed.
    Restore = 14,
    /// `spawn_warm(&SpawnRequest, snapshot)`: as [`Spawn`](Call::Spawn), with a snapshot's memory to begin with: the
    /// segments come on top of it, such as one without pages whose bytes are the arguments. Of the registers that the
    /// snapshot keeps, the new process gets none.
    SpawnWarm = 15,

    /// `map(address, bytes, permissions, flags)`: reserves demand-zero memory. Address 0 lets the kernel
    /// choose. Address and length are multiples of the page size. `flags` is 0 or
    /// [`MAP_NO_INHERIT`](crate::MAP_NO_INHERIT), with which memory is never executable
    /// ([`Error::NotAllowed`](crate::Error::NotAllowed)). Returns the address.
    Map = 16,
    /// `unmap(address, bytes)`: removes everything that is mapped in the range; holes are no error.
    Unmap = 17,
    /// `protect(address, bytes, permissions)`: changes what is mapped in the range; a hole is an
    /// error and then nothing has changed. Not allowed ([`Error::NotAllowed`](crate::Error::NotAllowed)) are
    /// write permission where a memory object is mapped without (it is gained by mapping the object anew), and
    /// execution of memory that other processes may write or that a child does not get.
    Protect = 18,
    /// `map_object(memory, address, permissions)`: maps a memory object whole, one and the same memory
    /// for every process that maps it: to read with [`Rights::READ`](crate::Rights::READ), to read and write with
    /// [`Rights::WRITE`](crate::Rights::WRITE) as well. A forked child has the mapping too. Returns the
    /// address and, in `x1`, the object's length in bytes.
    MapObject = 19,
    /// `discard(address, bytes)`: gives up the content of private memory and keeps the memory: the next
    /// touch finds zeroes. Holes are no error; memory that is not private is, namely
    /// [`Error::NotAllowed`](crate::Error::NotAllowed), and then nothing has changed.
    Discard = 20,
    /// `move(from, bytes, to)`: moves everything that is mapped in the range to `to`, where nothing may be
    /// mapped; holes move as holes. Address 0 lets the kernel choose. Ranges that overlap are
    /// [`Error::Occupied`](crate::Error::Occupied). Returns the new address; after an error nothing has changed.
    Move = 21,
    /// `memory_create(bytes)`: a memory object of zeroes, a multiple of the page size. All of its memory
    /// is allocated at once, and lives for as long as a handle or a mapping does. Returns a handle with the rights to
    /// read, write and duplicate.
    MemoryCreate = 22,

    /// `console_write(console, buffer, bytes)`: returns the number of bytes written. For the kernel's own writer, which
    /// the first program has; others have a connection to the server of the console in its place.
    ConsoleWrite = 32,

    /// `close(handle)`: gives the handle up.
    Close = 40,
    /// `duplicate(handle, rights)`: a second handle to the same object with no more rights.
    Duplicate = 41,

    /// `process_info(process, &mut ProcessInfo)`.
    ProcessInfo = 48,
    /// `tables(process, &mut TablesRequest)`: descriptors of a process's translation tables.
    /// Returns the number of records stored.
    Tables = 49,
    /// `memory_sizes(process, &mut MemorySizes)`: adds up the next part of a process's memory, private and shared.
    MemorySizes = 52,
    /// `system_info(system, &mut SystemInfo)`.
    SystemInfo = 50,
    /// `thread_info(thread, &mut ThreadInfo)`: the calling thread's with [`Handle::SELF`](crate::Handle::SELF); for
    /// another's, the right to inspect is needed.
    ThreadInfo = 53,
    /// `trace(system, &mut TraceRequest)`: copies what the core that the caller runs on has done, from a number on, for
    /// which the right to inspect is needed. Returns how many events it has stored: some, unless none is left.
    /// [`Error::NotReady`](crate::Error::NotReady) if the caller runs on another core than the one that it names,
    /// [`Error::BadArgument`](crate::Error::BadArgument) if there is no such core.
    Trace = 54,
    /// `trace_switch(system, on)`: has all cores record what they do from now on (1), or not any more (0), for which
    /// the right to inspect is needed. What has been recorded stays. Returns 1 if it was on, or 0.
    TraceSwitch = 55,
    /// `next_process(system, identifier)`: a handle, with the right to inspect only, to the live or
    /// not yet forgotten process with the smallest identifier above the given one; its identifier
    /// in `x1`. [`Error::NotFound`](crate::Error::NotFound) after the last.
    NextProcess = 51,

    /// `endpoint_create()`: a place to which others send messages. Returns a handle with the rights to read, which is
    /// to receive, and to duplicate. When its last handle is closed, every call that waits there, and every later one,
    /// answers [`Error::Gone`](crate::Error::Gone).
    EndpointCreate = 64,
    /// `connection_create(endpoint, badge)`: a way to an endpoint, for which the right to read is needed. Returns a
    /// handle with the rights to write, which is to call, and to duplicate. The badge tells the receiver through which
    /// connection a message has come; its holder cannot change it.
    ConnectionCreate = 65,
    /// `reply_create(endpoint)`: where a message from this endpoint is received and answered, for which the right to
    /// read is needed. Returns a handle with the rights to read, which is to receive with it, to write, which is to
    /// answer, and to duplicate; a forked child does not get it. It holds one call at a time, which is answered once.
    /// One that is not answered when the last handle is closed, or when another message is received here, ends with
    /// [`Error::Gone`](crate::Error::Gone).
    ReplyCreate = 66,
    /// `call(connection, w1 ... w6, handle; deadline)`: sends a message and blocks until it has been answered. Returns
    /// the answer's words in `x1` to `x6`, and in `x7` a handle that came with it, or 0. Made with
    /// [`SVC_MESSAGE`](crate::SVC_MESSAGE), as are the next four.
    ///
    /// A handle in `x7`, for which the right to duplicate is needed, moves to the receiver; 0 is none. If the
    /// receiver's table is full, it gets the message without, and the handle stays.
    ///
    /// `x9` is the moment, as [`Clock`](Call::Clock) counts, after which the call ends with
    /// [`Error::TimedOut`](crate::Error::TimedOut), answered or not; 0 is never. One without that moment is refused with
    /// [`Error::WouldDeadlock`](crate::Error::WouldDeadlock) if all that could receive it wait for the caller, and that
    /// is found.
    Call = 67,
    /// `receive(reply; deadline)`: blocks until there is a message. Returns its words and its handle as `call` does,
    /// and the connection's badge in `x9`.
    Receive = 68,
    /// `reply(reply, w1 ... w6, handle)`: answers the call that was received with this object.
    /// [`Error::NotFound`](crate::Error::NotFound) if none is open; [`Error::Gone`](crate::Error::Gone) if its caller
    /// has ended or waits no longer, and then the handle stays.
    Reply = 69,
    /// `reply_receive(reply, w1 ... w6, handle; deadline)`: both, one after the other, for a server's loop. That the
    /// caller waits no longer is no error here.
    ReplyReceive = 70,
    /// `send(connection, w1 ... w6, handle)`: a message without an answer, and without waiting.
    /// [`Error::NotReady`](crate::Error::NotReady) if no thread is waiting for one: then it has not arrived.
    Send = 71,
    /// `notification_create()`: 64 bits that can be set and waited for. Returns a handle with the rights to write,
    /// which is to set bits, to read, which is to wait for them, and to duplicate.
    NotificationCreate = 72,
    /// `notify(notification, bits)`: sets bits, and never blocks. A thread that waits gets all that are set; of several
    /// the one that came first.
    Notify = 73,
    /// `notification_wait(notification, deadline)`: blocks until a bit is set, takes all of them, and returns them in
    /// `x1`. [`Error::TimedOut`](crate::Error::TimedOut) at the deadline, as for `call`; one that has passed looks and
    /// does not wait.
    NotificationWait = 74,
    /// `notification_bind(notification, bits, source)`: has bits set, for which the right to write is needed, when a
    /// process or a thread ends, for which the right to wait is needed, whenever a call comes in line at an endpoint
    /// and no receiver waits, or for an interrupt, for which the right to read is needed, or when the last handle to a
    /// connection is gone and no call through it is in line, for which the right to write is needed. If that is so
    /// already, they are set at once. An end has one binding, and a second is
    /// [`Error::NotAllowed`](crate::Error::NotAllowed); the others are replaced.
    NotificationBind = 75,
    /// `wait_on(address, expected, deadline)`: blocks while the 32-bit word at `address` is `expected`, until a
    /// [`Wake`](Call::Wake) of the same process for that address, or the deadline.
    /// [`Error::NotReady`](crate::Error::NotReady) if the word is another one now.
    WaitOn = 76,
    /// `wake(address)`: wakes the thread of the calling process that has waited on the word at `address` for longest.
    /// Returns 1, or 0 if none waits there. Nothing is read.
    Wake = 77,

    /// `schedule(thread, priority, cores)`: gives a thread, for which the right to [schedule](crate::Rights::SCHEDULE)
    /// is needed, or with [`Handle::SELF`](crate::Handle::SELF) the calling thread, a priority below
    /// [`PRIORITIES`](crate::PRIORITIES) and the cores that it may run on: bit n of `cores` is core n, 0 is all. One
    /// that waits at this moment has them when it is ready again.
    ///
    /// [`Error::NotAllowed`](crate::Error::NotAllowed) for a priority above the caller's limit. A thread begins with
    /// the priority, the limit and the cores of the one that made it; a spawned process's limit is its maker's
    /// priority. [`Error::BadArgument`](crate::Error::BadArgument) if the machine has none of these cores.
    Schedule = 80,

    /// `supervise(process, connection)`: has the faults of a process, for which the right to
    /// [supervise](crate::Rights::SUPERVISE) is needed, sent through a connection, for which the right to write is
    /// needed, in place of ending the process. 0 in place of the connection ends that. A forked child has no
    /// supervisor.
    ///
    /// A thread that cannot go on makes a call through the connection: its words are the [kind](crate::FaultKind), the
    /// address (or 0), the program counter and `x0` to `x2`; for a [foreign call](crate::FaultKind::ForeignCall) the
    /// address is the call's number, `x8`. The first word of the answer is a [`FaultAnswer`](crate::FaultAnswer).
    /// Without a receiver, the thread waits for one; when the endpoint has been closed, and on
    /// [`Error::Gone`](crate::Error::Gone), the process ends as if it had no supervisor.
    Supervise = 81,
    /// `fault_registers(reply, buffer, write)`: copies the registers of the thread whose fault has been received with
    /// this reply, for which the right to write is needed, into [`REGISTERS`](crate::REGISTERS) words at `buffer`, or
    /// with `write` 1 from there: `x0` to `x30`, the stack pointer, the program counter, and the flags in bits 31 to
    /// 28. [`Error::NotFound`](crate::Error::NotFound) if the reply keeps no fault.
    FaultRegisters = 82,
    /// `process_read(process, address, buffer, bytes)`: copies memory of a process, for which the right to
    /// [supervise](crate::Rights::SUPERVISE) is needed, into the caller's, at most up to the end of a page
    /// there. Returns how many bytes: at least one, unless none were to be copied.
    ProcessRead = 83,
    /// `process_write(process, address, buffer, bytes)`: the other way. As a store of the process's own, it needs
    /// memory there that may be written.
    ProcessWrite = 84,
    /// As [`Call`](Call::Call), and lends the server memory until it has answered: `x20` is the address and `x21` the
    /// number of the bytes that it may read, `x22` and `x23` of those that it may write.
    CallLending = 85,
    /// `lent_read(reply, offset, buffer, bytes)`: copies bytes that the caller whose call is kept in the reply has
    /// lent, from this offset on, and returns how many: at least one, if there are any, and at most as far as `buffer`
    /// goes on in one page. For the reply, the right to write is needed. [`Error::NotFound`](crate::Error::NotFound) if
    /// no call is kept there, or its caller waits no longer; [`Error::BadArgument`](crate::Error::BadArgument) for
    /// bytes that are not lent.
    LentRead = 86,
    /// `lent_write(reply, offset, buffer, bytes)`: as [`LentRead`](Call::LentRead), from `buffer` into what has been
    /// lent to be written, as far as that goes on in one page.
    LentWrite = 87,

    /// `on_behalf(reply, call, a0 ... a3)`: carries out a call in the place of the stopped thread whose fault has been
    /// received with this reply, for which the right to write is needed: the one with that number, with these
    /// arguments. The memory, a new thread and a new process's parent are that thread's process's; handles are the
    /// caller's, those that are named and those that are returned. The thread stays stopped. The call is refused as the
    /// thread's own would be, and what takes long goes in pieces; meanwhile what others do with the reply waits.
    ///
    /// - [`Map`](Call::Map), [`MapObject`](Call::MapObject), [`Unmap`](Call::Unmap), [`Protect`](Call::Protect),
    ///   [`Discard`](Call::Discard), [`Move`](Call::Move), [`ThreadCreate`](Call::ThreadCreate): as they are.
    /// - [`Fork`](Call::Fork)`(SELF, share, flags, connection)`: the child's thread begins with the registers that the
    ///   stopped one has now, and the child has its process's handles. Its faults go through the connection, for which
    ///   the right to write is needed, or with 0 where its parent's go;
    ///   [`Error::NotAllowed`](crate::Error::NotAllowed) if that is nowhere.
    /// - [`Snapshot`](Call::Snapshot)`(SELF, share, 0)`: keeps the registers that the stopped thread has now.
    /// - [`Restore`](Call::Restore)`(SELF, snapshot)`: gives the process the memory, and the stopped thread the
    ///   registers, of a snapshot of whichever process.
    ///
    /// [`Error::BadArgument`](crate::Error::BadArgument) for other calls. [`Error::NotFound`](crate::Error::NotFound) if
    /// the reply keeps no fault, or the process ends meanwhile.
    OnBehalf = 88,

    /// `interrupt_create(system, line, trigger)`: an object for an interrupt of a device, for which the right to
    /// [devices](crate::Rights::DEVICES) is needed. Line and trigger are as the `interrupts` property of the device
    /// tree has them, in the second and third cell: the number of a shared interrupt, and
    /// [`TRIGGER_EDGE`](crate::TRIGGER_EDGE) or [`TRIGGER_LEVEL`](crate::TRIGGER_LEVEL). Returns a handle with the
    /// rights to read, which is to be told and to acknowledge, and to duplicate.
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) for a line that the machine has not,
    /// [`Error::NotAllowed`](crate::Error::NotAllowed) for one that has an object.
    ///
    /// Nothing comes before the object has been [bound](Call::NotificationBind). Then an interrupt masks its line and
    /// sets the bits; the next one comes when it has been [acknowledged](Call::InterruptAcknowledge). With the last
    /// handle the line is masked and free again.
    InterruptCreate = 96,
    /// `interrupt_acknowledge(interrupt)`: lets the next interrupt come: at once if the device still asserts it, or if
    /// an edge has come meanwhile. [`Error::NotFound`](crate::Error::NotFound) if none has come since the last time.
    InterruptAcknowledge = 97,
    /// `device_create(system, address, bytes)`: a memory object of device registers by their physical address, for
    /// which the right to [devices](crate::Rights::DEVICES) is needed. Address and length are multiples of the page
    /// size. Returns a handle with the rights to read, to write and to duplicate. It is mapped uncached and in order
    /// (Device-nGnRE), and never executable; a forked child and a snapshot do not have the mapping, and no call reads
    /// or writes there on a program's behalf ([`Error::BadAddress`](crate::Error::BadAddress)).
    ///
    /// [`Error::NotAllowed`](crate::Error::NotAllowed) unless all of it is in the pages of one `reg` range of an
    /// enabled node of the device tree, and none of it is memory, or of the interrupt controller. The registers of
    /// the UART that the kernel writes to are handed out once: then the kernel leaves all to its driver but what it has
    /// to report itself.
    DeviceCreate = 98,
    /// `dma_create(system, bytes)`: a memory object of zeroes in consecutive frames, for devices that access memory by
    /// themselves; the right to [devices](crate::Rights::DEVICES) is needed. `bytes` is a multiple of the page size up
    /// to [`DMA_MAX`](crate::DMA_MAX). The object begins at a multiple of its length, rounded up to a power of two.
    /// Otherwise as `memory_create`.
    DmaCreate = 99,
    /// `memory_address(memory)`: the physical address of a memory object that has one, of `device_create` or
    /// `dma_create`; the right to read is needed. [`Error::NotAllowed`](crate::Error::NotAllowed) for others.
    MemoryAddress = 100,
    /// `device_tree(system)`: the device tree that the machine was started with, as a blob, in a memory object that can
    /// be read; the right to [devices](crate::Rights::DEVICES) is needed. [`Error::NotFound`](crate::Error::NotFound)
    /// if there is none.
    DeviceTree = 101,
    /// `reset(system)`: starts the machine anew, by its firmware; the right to [devices](crate::Rights::DEVICES) is
    /// needed. Returns only on failure: [`Error::NotFound`](crate::Error::NotFound) if there is no firmware that can.
    Reset = 102,

    /// `job_create()`: a job, in which no process is yet, within the jobs that the caller is in. Returns a handle with
    /// the rights to write, which is to [enter](Call::JobEnter), to end, which is to [control](Call::JobControl), and to
    /// duplicate; and, in `x1`, in how many others it is. [`Error::NotAllowed`](crate::Error::NotAllowed) if the caller
    /// is in [`JOB_LEVELS`](crate::JOB_LEVELS) jobs already.
    JobCreate = 112,
    /// `job_enter(job)`: has the processes that the caller makes from now on, by whatever call, be born into a job, for
    /// which the right to write is needed, or, with 0, into those that the caller is in. A process is in the job that it
    /// was born into for good, and so is what it makes. [`Error::NotAllowed`](crate::Error::NotAllowed) for a job that
    /// is not directly within the caller's.
    JobEnter = 113,
    /// `job_control(job, operation, code)`: does something to all processes in a job, for which the right to end is
    /// needed: a [`JobOperation`](crate::JobOperation). When it returns, none of those that it has suspended runs in its
    /// program any more. What is made by processes of the job meanwhile is suspended or ended, too.
    JobControl = 114,
}
