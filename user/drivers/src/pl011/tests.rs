//! Tests of the room above.

use super::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// A PL011 whose line the test is at the other end of.
#[derive(Default)]
struct Model {
    receive: RefCell<VecDeque<u32>>,
    transmit: RefCell<VecDeque<u8>>,
    mask: Cell<u32>,
    writes: RefCell<Vec<(usize, u32)>>,
}

impl Port for &Model {
    fn read(&self, register: usize) -> u32 {
        match register {
            DATA => self.receive.borrow_mut().pop_front().expect("the driver looks at the flags first"),
            FLAGS => {
                let empty = if self.receive.borrow().is_empty() { RECEIVE_EMPTY } else { 0 };
                let full = if self.transmit.borrow().len() >= 16 { TRANSMIT_FULL } else { 0 };
                empty | full
            }
            other => panic!("register {other:#x} is read"),
        }
    }

    fn write(&self, register: usize, value: u32) {
        match register {
            DATA => {
                assert!(self.transmit.borrow().len() < 16, "a byte is lost");
                self.transmit.borrow_mut().push_back(value as u8);
            }
            INTERRUPT_MASK => self.mask.set(value),
            _ => self.writes.borrow_mut().push((register, value)),
        }
    }
}

impl Outgoing for VecDeque<u8> {
    fn is_empty(&self) -> bool {
        VecDeque::is_empty(self)
    }

    fn next(&mut self) -> Option<u8> {
        self.pop_front()
    }
}

/// A place for so many bytes.
struct Place(Vec<u8>, usize);

impl Incoming for Place {
    fn room(&self) -> usize {
        self.1 - self.0.len()
    }

    fn put(&mut self, byte: u8) {
        assert!(self.room() > 0);
        self.0.push(byte);
    }
}

#[test]
fn the_rate_is_taken_over_by_the_write_behind_it() {
    let model = Model::default();
    Uart::new(&model, divisors(24_000_000, 115_200), Wiring::Pins);
    let writes = model.writes.borrow();
    let at = |register| writes.iter().rposition(|&(other, _)| other == register).unwrap();
    assert!(at(INTEGER_DIVISOR) < at(LINE_CONTROL) && at(FRACTIONAL_DIVISOR) < at(LINE_CONTROL));
    assert!(at(LINE_CONTROL) < at(CONTROL));
    assert_eq!(writes[at(INTEGER_DIVISOR)].1, 13);
    assert_eq!(writes[at(FRACTIONAL_DIVISOR)].1, 1);
    assert_eq!(writes[at(CONTROL)].1 & LOOPBACK, 0);
}

#[test]
fn divisors_are_of_the_nearest_rate() {
    // The example of the TRM: 4 MHz and 230,400 bits a second.
    assert_eq!(divisors(4_000_000, 230_400), Some((1, 5)));
    assert_eq!(divisors(48_000_000, 115_200), Some((26, 3)));
    assert_eq!((divisors(0, 115_200), divisors(1_000_000, 0), divisors(u32::MAX, 1)), (None, None, None));
}

#[test]
fn what_the_fifo_does_not_take_waits_for_the_interrupt() {
    let model = Model::default();
    let mut uart = Uart::new(&model, None, Wiring::Pins);
    let text: Vec<u8> = (0..100).collect();
    let (mut outgoing, mut incoming) = (VecDeque::from(text.clone()), Place(Vec::new(), 64));
    let mut seen = Vec::new();
    assert!(uart.serve(&mut outgoing, &mut incoming));
    while model.mask.get() & ROOM != 0 {
        // What the line has taken.
        seen.extend(model.transmit.borrow_mut().drain(..));
        uart.serve(&mut outgoing, &mut incoming);
    }
    seen.extend(model.transmit.borrow_mut().drain(..));
    assert_eq!(seen, text);
    assert_eq!(model.mask.get(), RECEIVED | TIMEOUT, "and for nothing more when all is gone");
    assert!(!uart.serve(&mut outgoing, &mut incoming), "nothing moves");
}

#[test]
fn what_there_is_no_room_for_stays_in_the_device_and_does_not_interrupt() {
    let model = Model::default();
    let mut uart = Uart::new(&model, None, Wiring::Pins);
    model.receive.borrow_mut().extend(1..=10);
    let mut incoming = Place(Vec::new(), 4);
    uart.serve(&mut VecDeque::new(), &mut incoming);
    assert_eq!((&incoming.0[..], model.mask.get()), (&[1, 2, 3, 4][..], 0));
    incoming.0.clear();
    incoming.1 = 20;
    uart.serve(&mut VecDeque::new(), &mut incoming);
    assert_eq!((&incoming.0[..], model.mask.get()), (&[5, 6, 7, 8, 9, 10][..], RECEIVED | TIMEOUT));
}

#[test]
fn what_an_earlier_owner_has_left_is_received_if_it_has_come_from_outside() {
    for (wiring, expected) in [(Wiring::Loopback, &[][..]), (Wiring::Pins, &[1, 2, 3])] {
        let model = Model::default();
        model.receive.borrow_mut().extend([1, 2, 3]);
        let mut uart = Uart::new(&model, None, wiring);
        let mut incoming = Place(Vec::new(), 8);
        assert_eq!(uart.serve(&mut VecDeque::new(), &mut incoming), wiring == Wiring::Pins);
        assert_eq!(incoming.0, expected);
    }
}

#[test]
fn a_broken_byte_is_left_out() {
    let model = Model::default();
    let mut uart = Uart::new(&model, None, Wiring::Pins);
    model.receive.borrow_mut().extend([0x41, 0x42 | 1 << 8, 1 << 10, 0x43]);
    let mut incoming = Place(Vec::new(), 8);
    uart.serve(&mut VecDeque::new(), &mut incoming);
    assert_eq!(incoming.0, b"AC");
}
