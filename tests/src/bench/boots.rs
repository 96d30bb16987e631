//! Boots that measure, side by side, behind a progress bar.

use crate::bench::figures::Figure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Takes figures and moves the bar by its boot's weight, at once or bit by bit.
type Measure<'a> = dyn Fn(&ProgressBar) -> Result<Vec<Figure>, String> + Sync + 'a;

/// One boot of a machine that measures something.
pub(super) struct Boot<'a> {
    /// What is measured, for the bar.
    pub(super) name: String,
    /// Its share of the bar: in proportion to the time that it is expected to take.
    pub(super) weight: u64,
    /// How.
    pub(super) measure: Box<Measure<'a>>,
}

/// All figures, in the order of the boots; the first error if there is one.
pub(super) fn all(boots: &[Boot<'_>], jobs: usize) -> Result<Vec<Figure>, String> {
    let total = boots.iter().map(|boot| boot.weight).sum();
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:32} {percent:>3} %  {elapsed}  {wide_msg}").expect("a template"));
    bar.enable_steady_tick(Duration::from_secs(1));

    let results = Mutex::new(Vec::new());
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                // The last boots are the longest: begun last, one of them would run alone at the end.
                while let Some(index) = boots.len().checked_sub(1 + begun.fetch_add(1, Ordering::Relaxed)) {
                    let boot = &boots[index];
                    bar.set_message(boot.name.clone());
                    let measured = (boot.measure)(&bar);
                    if measured.is_err() {
                        // Nothing more to begin: the whole run has failed.
                        begun.store(boots.len(), Ordering::Relaxed);
                    }
                    results.lock().expect("no thread panics with it").push((index, measured));
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut results = results.into_inner().expect("no thread panics with it");
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, measured)| measured).collect::<Result<Vec<_>, String>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures;

    fn boot<'a>(bytes: usize, result: Result<(), &'static str>, begun: &'a Mutex<Vec<usize>>) -> Boot<'a> {
        let measure = move |bar: &ProgressBar| {
            begun.lock().unwrap().push(bytes);
            bar.inc(1);
            result.map_err(String::from)?;
            Ok(figures::parse(&format!("linux,6.12,{bytes},fork,ns,1,1,1,1\n")))
        };
        Boot { name: bytes.to_string(), weight: 1, measure: Box::new(measure) }
    }

    #[test]
    fn figures_are_in_order_though_the_last_boot_is_the_first() {
        let begun = Mutex::default();
        let figures = all(&[boot(1, Ok(()), &begun), boot(2, Ok(()), &begun)], 1).unwrap();
        assert_eq!(figures.iter().map(|figure| figure.bytes).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(*begun.lock().unwrap(), [2, 1]);
    }

    #[test]
    fn after_a_failure_nothing_more_is_begun() {
        let begun = Mutex::default();
        let boots = [boot(1, Ok(()), &begun), boot(2, Err("no memory"), &begun), boot(3, Ok(()), &begun)];
        assert_eq!(all(&boots, 1), Err("no memory".into()));
        assert_eq!(*begun.lock().unwrap(), [3, 2]);
    }
}
