//! Prints whole numbers, one a line: `seq [FIRST] LAST`; from 1 unless another is given.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::{Arguments, eprintln, println};

graft_rt::program!(main);

fn main(arguments: Arguments) -> i32 {
    let number = |index| arguments.get(index).map(str::parse::<i64>);
    let (first, last) = match (number(1), number(2), arguments.get(3)) {
        (Some(Ok(last)), None, None) => (1, last),
        (Some(Ok(first)), Some(Ok(last)), None) => (first, last),
        _ => {
            eprintln!("usage: seq [FIRST] LAST");
            return 2;
        }
    };
    for number in first..=last {
        println!("{number}");
    }
    0
}
