// The exception vectors (Arm ARM, "Exception vectors": 16 slots of 32 instructions).
//
//              current EL, SP_EL0   current EL, SP_EL1   lower EL, AArch64   lower EL, AArch32
// synchronous  fault                fault                call or trap        fault
// IRQ          fault                fault                trap                fault
// FIQ          fault                fault                fault               fault
// SError       fault                fault                trap                fault
//
// "trap" saves the thread's registers in its Context, to which SP_EL1 points while it runs, and calls
//
//      Context *trap_from_user(Context *, syndrome, fault address)
//
// which answers with the context to resume.
//
// "call" is svc with the immediate of a native call, and the path whose instructions are counted: 28 in
// and 14 out. By the calling convention x2 to x17 are dead afterwards, so of these only the arguments and
// the number are saved. Null as the answer of
//
//      Context *call_from_user(Context *)
//
// means that the caller goes on with nothing changed but x0 to x17. ELR, SPSR, SP_EL0 and TPIDR_EL0 are
// then what they were, as no exception was taken in between, and x20 to x29 too, by the procedure call
// standard. x2 to x17 get the caller's own older values: never the kernel's.
//
// "message" is svc with the immediate of a call that carries a message. It has more arguments, and mostly goes on with
// another thread:
//
//      message_from_user(Context *, core)
//
// resumes that one itself and does not return. x10 to x17 are dead, and get the older values that are there.
//
// "fault" is a bug of the kernel or a broken machine: nothing is masked off or fixed up, see fault.rs.

// All but x0 and x1. Leaves the context in x0, with the kernel's stack pointer in place.
.macro save_most
        stp     x2, x3, [sp, #16]
        stp     x4, x5, [sp, #32]
        stp     x6, x7, [sp, #48]
        stp     x8, x9, [sp, #64]
        stp     x10, x11, [sp, #80]
        stp     x12, x13, [sp, #96]
        stp     x14, x15, [sp, #112]
        stp     x16, x17, [sp, #128]
        save_rest
.endm

// All but x0 to x17. Leaves the core's index in x1.
.macro save_rest
        stp     x18, x19, [sp, #144]
        stp     x20, x21, [sp, #160]
        stp     x22, x23, [sp, #176]
        stp     x24, x25, [sp, #192]
        stp     x26, x27, [sp, #208]
        stp     x28, x29, [sp, #224]
        mrs     x9, sp_el0
        mrs     x10, elr_el1
        mrs     x11, spsr_el1
        mrs     x12, tpidr_el0
        mrs     x13, tpidr_el1
        stp     x30, x9, [sp, #{X30_SP}]
        stp     x10, x11, [sp, #{PC_PSTATE}]
        str     x12, [sp, #{THREAD_POINTER}]
        ldp     x13, x1, [x13, #{STACK_TOP}]
        mov     x0, sp
        mov     sp, x13
.endm

.macro synchronous
.balign 128
        stp     x0, x1, [sp]
        mrs     x0, esr_el1
        lsr     x1, x0, #20
        cmp     x1, #0x560              // EC 0x15: svc in AArch64 state; IL
        b.ne    trap_synchronous
        tbnz    x0, #{CALL_BIT}, call
        tbnz    x0, #{MESSAGE_BIT}, message
        b       trap_synchronous
.endm

.macro trap syndrome
.balign 128
        stp     x0, x1, [sp]
        save_most
        \syndrome
        bl      trap_from_user
        b       resume
.endm

// x0 waits in TPIDRRO_EL0, the one system register without another use; the stack may be what is broken.
.macro fault vector
.balign 128
        msr     tpidrro_el0, x0
        mrs     x0, tpidr_el1
        stp     x1, x2, [x0, #({FAULT} + 8)]
        mov     x1, #\vector
        b       save_fault
.endm

.section .text.vectors, "ax"
.balign 2048
.global exception_vectors
exception_vectors:
        fault   0
        fault   1
        fault   2
        fault   3

        fault   4
        fault   5
        fault   6
        fault   7

        synchronous
        trap    "mov x1, #-1"
        fault   10
        trap    "mrs x1, esr_el1"

        fault   12
        fault   13
        fault   14
        fault   15

.balign 64
call:
        stp     x2, x3, [sp, #16]
        stp     x4, x5, [sp, #32]
        str     x8, [sp, #64]
        save_rest
        mov     x19, x0
        bl      call_from_user
        cbnz    x0, resume
        mov     sp, x19
        ldp     x2, x3, [sp, #16]
        ldp     x4, x5, [sp, #32]
        ldp     x6, x7, [sp, #48]
        ldp     x8, x9, [sp, #64]
        ldp     x10, x11, [sp, #80]
        ldp     x12, x13, [sp, #96]
        ldp     x14, x15, [sp, #112]
        ldp     x16, x17, [sp, #128]
        ldp     x18, x19, [sp, #144]
        ldr     x30, [sp, #{X30_SP}]
        ldp     x0, x1, [sp]
        eret
        dsb     nsh                     // never executed: stops speculation past ERET
        isb

.balign 64
message:
        stp     x2, x3, [sp, #16]
        stp     x4, x5, [sp, #32]
        stp     x6, x7, [sp, #48]
        stp     x8, x9, [sp, #64]
        save_rest
        b       message_from_user

.balign 64
trap_synchronous:
        save_most
        mrs     x1, esr_el1
        mrs     x2, far_el1
        bl      trap_from_user

// Falls through.
// x0: the context to resume. Also called from Rust, from any depth of the kernel stack.
.global resume
resume:
        ldp     x10, x11, [x0, #{PC_PSTATE}]
        ldr     x12, [x0, #{THREAD_POINTER}]
        ldp     x30, x9, [x0, #{X30_SP}]
        mov     sp, x0
        msr     elr_el1, x10
        msr     spsr_el1, x11
        msr     tpidr_el0, x12
        msr     sp_el0, x9
        ldp     x2, x3, [sp, #16]
        ldp     x4, x5, [sp, #32]
        ldp     x6, x7, [sp, #48]
        ldp     x8, x9, [sp, #64]
        ldp     x10, x11, [sp, #80]
        ldp     x12, x13, [sp, #96]
        ldp     x14, x15, [sp, #112]
        ldp     x16, x17, [sp, #128]
        ldp     x18, x19, [sp, #144]
        ldp     x20, x21, [sp, #160]
        ldp     x22, x23, [sp, #176]
        ldp     x24, x25, [sp, #192]
        ldp     x26, x27, [sp, #208]
        ldp     x28, x29, [sp, #224]
        ldp     x0, x1, [sp]
        eret
        dsb     nsh
        isb

// x0: this core's CoreLocal. x1: the vector. x1 and x2 are saved, x0 is in TPIDRRO_EL0.
save_fault:
        add     x0, x0, #{FAULT}
        stp     x3, x4, [x0, #24]
        stp     x5, x6, [x0, #40]
        stp     x7, x8, [x0, #56]
        stp     x9, x10, [x0, #72]
        stp     x11, x12, [x0, #88]
        stp     x13, x14, [x0, #104]
        stp     x15, x16, [x0, #120]
        stp     x17, x18, [x0, #136]
        stp     x19, x20, [x0, #152]
        stp     x21, x22, [x0, #168]
        stp     x23, x24, [x0, #184]
        stp     x25, x26, [x0, #200]
        stp     x27, x28, [x0, #216]
        str     x29, [x0, #232]
        mov     x9, sp
        stp     x30, x9, [x0, #{FAULT_X30_SP}]
        mrs     x10, tpidrro_el0
        str     x10, [x0]
        msr     tpidrro_el0, xzr        // EL0 can read it
        mrs     x11, elr_el1
        mrs     x12, spsr_el1
        stp     x11, x12, [x0, #{FAULT_PC_PSTATE}]
        mrs     x2, esr_el1
        mrs     x3, far_el1
        ldur    x9, [x0, #({EMERGENCY_TOP} - {FAULT})]
        mov     sp, x9
        bl      fault_in_kernel
        // It came back: a semihosting call without an emulator to answer it.
        ldp     x11, x12, [x0, #{FAULT_PC_PSTATE}]
        ldp     x30, x9, [x0, #{FAULT_X30_SP}]
        msr     elr_el1, x11
        msr     spsr_el1, x12
        mov     sp, x9
        ldr     x29, [x0, #232]
        ldp     x27, x28, [x0, #216]
        ldp     x25, x26, [x0, #200]
        ldp     x23, x24, [x0, #184]
        ldp     x21, x22, [x0, #168]
        ldp     x19, x20, [x0, #152]
        ldp     x17, x18, [x0, #136]
        ldp     x15, x16, [x0, #120]
        ldp     x13, x14, [x0, #104]
        ldp     x11, x12, [x0, #88]
        ldp     x9, x10, [x0, #72]
        ldp     x7, x8, [x0, #56]
        ldp     x5, x6, [x0, #40]
        ldp     x3, x4, [x0, #24]
        ldp     x1, x2, [x0, #8]
        ldr     x0, [x0]
        eret
        dsb     nsh
        isb
