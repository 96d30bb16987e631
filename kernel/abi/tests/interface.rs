//! The numbers that programs and the kernel have agreed on: programs that are compiled keep them.

use graft_abi::{ARGUMENTS_MAX, STACK_TOP};
use graft_abi::{
    Call, EntryKind, Error, ExitStatus, FORK_GUARANTEED, FaultKind, MAP_NO_INHERIT, MemorySizes, Permissions,
    ProcessState, Rights, STACK_SIZE, Share, USER_END,
};

#[test]
fn rights_are_bits_of_their_own() {
    let all = [
        Rights::WAIT,
        Rights::KILL,
        Rights::INSPECT,
        Rights::FORK,
        Rights::READ,
        Rights::WRITE,
        Rights::DUPLICATE,
        Rights::NO_INHERIT,
        Rights::SCHEDULE,
        Rights::SUPERVISE,
        Rights::DEVICES,
    ];
    for (bit, right) in all.into_iter().enumerate() {
        assert_eq!(right.0, 1 << bit);
    }
    assert_eq!(Rights::NONE.0, 0);
    // Not being inherited is no right.
    let every = all.into_iter().filter(|&right| right != Rights::NO_INHERIT).fold(Rights::NONE, Rights::or);
    assert_eq!(every, Rights::ALL);
}

#[test]
fn rights_contain_others_bit_by_bit() {
    let two = Rights::WAIT.or(Rights::READ);
    assert!(two.contains(Rights::NONE) && two.contains(Rights::WAIT) && two.contains(two));
    assert!(!two.contains(Rights::KILL) && !two.contains(Rights::WAIT.or(Rights::KILL)) && !Rights::WAIT.contains(two));
    assert_eq!(two.or(Rights::READ), two);
    assert_eq!(two.and(Rights::READ.or(Rights::KILL)), Rights::READ);
    assert_eq!(Rights::ALL.and(Rights::NONE), Rights::NONE);
}

#[test]
fn what_has_a_number_is_found_by_it() {
    use EntryKind::{ForeignPage, NoInheritPage, Page, Reserved, SharedPage, Table, ZeroPage};
    let permissions = [Permissions::None, Permissions::Read, Permissions::ReadWrite, Permissions::ReadExecute];
    let shares = [(Share::Copy, "copy"), (Share::L1, "l1"), (Share::L2, "l2"), (Share::L3, "l3")];
    let states = [ProcessState::Ready, ProcessState::Blocked, ProcessState::Ended, ProcessState::Suspended];
    let kinds = [Table, Page, ZeroPage, SharedPage, NoInheritPage, ForeignPage, Reserved];
    for (number, permission) in permissions.into_iter().enumerate() {
        assert_eq!(Permissions::from_number(number as u64), Some(permission));
    }
    for (number, (share, name)) in shares.into_iter().enumerate() {
        assert_eq!((Share::from_number(number as u64), share.name()), (Some(share), name));
        assert_eq!(Share::from_name(name), Some(share));
    }
    for (number, state) in states.into_iter().enumerate() {
        assert_eq!(ProcessState::from_number(number as u32), Some(state));
    }
    for (number, kind) in (1..).zip(kinds) {
        assert_eq!(EntryKind::from_number(number), Some(kind));
    }
    assert_eq!((Permissions::from_number(4), Share::from_number(4), Share::from_name("l4")), (None, None, None));
    assert_eq!(
        (ProcessState::from_number(4), EntryKind::from_number(0), EntryKind::from_number(8)),
        (None, None, None)
    );
    assert_eq!((Call::from_number(Call::Supervise as u64), Call::from_number(u64::MAX)), (Some(Call::Supervise), None));
}

#[test]
fn sizes_and_flags_stay_what_they_are() {
    assert_eq!((USER_END as u64, STACK_TOP as u64), (0x1_0000_0000_0000, 0x400_0000));
    assert_eq!((STACK_SIZE, ARGUMENTS_MAX), (8_388_608, 16_384));
    assert_eq!((MAP_NO_INHERIT, FORK_GUARANTEED), (1, 1));
}

#[test]
fn a_proportional_size_is_rounded_down() {
    let size = |parts| MemorySizes { parts, ..MemorySizes::default() }.proportional_bytes();
    let frame = 1 << MemorySizes::PART_BITS;
    assert_eq!([0, frame, 3 * frame, frame / 2, frame / 3].map(size), [0, 4096, 12_288, 2048, 1365]);
    assert_eq!(size(u64::MAX), (1 << 52) - 1);
}

#[test]
fn a_status_is_what_a_shell_makes_of_it() {
    let [done, failed, killed] = [ExitStatus::Exited(0), ExitStatus::Exited(3), ExitStatus::Killed(0)];
    let faulted = ExitStatus::Faulted(FaultKind::WriteDenied);
    assert!(done.is_success() && ![failed, killed, faulted].into_iter().any(ExitStatus::is_success));
    assert_eq!([done, failed, killed].map(ExitStatus::shell_code), [0, 3, 137]);
    assert_eq!(faulted.shell_code(), 128 + FaultKind::WriteDenied as i32);
    assert_eq!([done, killed].map(ExitStatus::to_register), [0, 2 << 32]);
    assert_eq!(faulted.to_register(), 1 << 32 | FaultKind::WriteDenied as u64);
}

#[test]
fn people_are_told_in_words() {
    assert_eq!(Error::OutOfMemory.to_string(), Error::OutOfMemory.message());
    assert_eq!(ExitStatus::Exited(7).to_string(), "exited with 7");
    assert_eq!(ExitStatus::Killed(8).to_string(), "killed with 8");
    let faulted = ExitStatus::Faulted(FaultKind::WriteDenied).to_string();
    assert_eq!(faulted, format!("ended: it {}", FaultKind::WriteDenied.message()));
    let messages =
        Error::ALL.iter().map(|error| error.message()).chain(FaultKind::ALL.iter().map(|kind| kind.message()));
    assert!(messages.into_iter().all(|message| message.len() > 4));
}
