//! Every choice of a simulation: drawn from a seed and written down, or read from a tape.

use std::fmt;
use std::str::FromStr;

use usersync_testkit::generate::SplitMix64;

/// What a choice is about. Each has a stream of its own, so that leaving out a fault does not make another world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// What there is, and what people do to it.
    Edits,
    /// What goes wrong with which call.
    Faults,
    /// Who goes on, who is stopped, when time passes.
    Schedule,
    /// How large the world is, and what its systems offer.
    World,
    /// Which roles members are to have.
    Roles,
    /// What there is in few worlds only.
    Rarities,
}

const STREAMS: usize = 6;
/// Those that there were when the first seeds were kept.
const FIRST_STREAMS: usize = 4;

/// How often streams were added to the first ones.
pub(crate) const EDITION: u32 = 2;

/// What was chosen in one place, by stream.
pub(crate) type Made = [Vec<u32>; STREAMS];

/// What choices are for. Each has streams of its own, so that what happens in one place makes no other world of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Groups, containers and records, and what is linked there.
    World,
    /// Items of links.
    Office,
}

const PLACES: usize = 2;

/// All choices of one simulation: run again, it takes the same way. 0 is always the plainest choice: no fault, the next worker in
/// turn, no edit, the smallest world. Behind its end, a tape has only zeros.
///
/// `Display` and `FromStr` give it a form that fits on a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape(pub(crate) [Vec<u32>; PLACES * STREAMS]);

/// Why a text is no tape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tape: {0:?}; copy the whole line that the simulator printed")]
pub struct InvalidTape(String);

impl Tape {
    /// How many choices are not the plainest.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.iter().flatten().filter(|choice| **choice != 0).count()
    }

    /// Of what was chosen in both places.
    pub(crate) fn of(world: Made, office: Made) -> Self {
        let mut streams = world.into_iter().chain(office);
        Self(std::array::from_fn(|_| streams.next().unwrap_or_default()))
    }

    /// Without the zeros at its ends, which say nothing.
    pub(crate) fn trimmed(mut self) -> Self {
        for stream in &mut self.0 {
            let len = stream
                .iter()
                .rposition(|choice| *choice != 0)
                .map_or(0, |at| at + 1);
            stream.truncate(len);
        }
        self
    }
}

impl fmt::Display for Tape {
    /// Twelve streams between slashes: numbers between points, and `~n` for n zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, stream) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("/")?;
            }
            let mut zeros = 0_u32;
            let mut first = true;
            for choice in stream {
                if *choice == 0 {
                    zeros += 1;
                    continue;
                }
                if zeros > 0 {
                    write!(f, "{}~{zeros}", if first { "" } else { "." })?;
                    (zeros, first) = (0, false);
                }
                write!(f, "{}{choice}", if first { "" } else { "." })?;
                first = false;
            }
        }
        Ok(())
    }
}

impl FromStr for Tape {
    type Err = InvalidTape;

    fn from_str(text: &str) -> Result<Self, InvalidTape> {
        let invalid = || InvalidTape(text.chars().take(60).collect());
        let mut tape = Self::default();
        let mut streams = text.split('/');
        for stream in &mut tape.0 {
            let words = streams.next().ok_or_else(invalid)?;
            for word in words.split('.').filter(|word| !word.is_empty()) {
                match word.strip_prefix('~') {
                    Some(zeros) => {
                        let zeros: u32 = zeros.parse().map_err(|_| invalid())?;
                        // As long as any simulation could be, and no longer: the text may come from anywhere.
                        let len = stream.len() + zeros as usize;
                        if len > 100_000_000 {
                            return Err(invalid());
                        }
                        stream.resize(len, 0);
                    }
                    None => stream.push(word.parse().map_err(|_| invalid())?),
                }
            }
        }
        match streams.next() {
            None => Ok(tape),
            Some(_) => Err(invalid()),
        }
    }
}

/// Makes choices.
#[derive(Debug)]
pub(crate) struct Choices {
    sources: [Source; STREAMS],
}

#[derive(Debug)]
struct Source {
    /// `None`: from the tape.
    rng: Option<SplitMix64>,
    given: std::vec::IntoIter<u32>,
    made: Vec<u32>,
}

impl Choices {
    /// Of the streams that there were in `edition`; in those that were added since everything is the plainest.
    pub(crate) fn of_seed(seed: u64, place: Place, edition: u32) -> Self {
        // A stream that came later takes no label of another one: seeds that were kept go on to make the worlds that they made.
        let label = |stream: usize| match stream.checked_sub(FIRST_STREAMS) {
            None => place as usize * FIRST_STREAMS + stream,
            Some(later) => (FIRST_STREAMS + later) * PLACES + place as usize,
        };
        let known = FIRST_STREAMS + edition as usize;
        let source = |stream: usize| Source {
            rng: (stream < known).then(|| SplitMix64::keyed(seed, label(stream) as u64)),
            given: Vec::new().into_iter(),
            made: Vec::new(),
        };
        Self {
            sources: std::array::from_fn(source),
        }
    }

    pub(crate) fn of_tape(tape: &Tape, place: Place) -> Self {
        let source = |given: &Vec<u32>| Source {
            rng: None,
            given: given.clone().into_iter(),
            made: Vec::new(),
        };
        let first = place as usize * STREAMS;
        Self {
            sources: std::array::from_fn(|stream| source(&tape.0[first + stream])),
        }
    }

    /// What was chosen so far.
    pub(crate) fn made(&self) -> Made {
        std::array::from_fn(|stream| self.sources[stream].made.clone())
    }

    /// A number below `bound`; 0 for a bound of 0 or 1.
    pub(crate) fn below(&mut self, stream: Stream, bound: usize) -> usize {
        let most = u32::try_from(bound.saturating_sub(1)).unwrap_or(u32::MAX);
        self.draw(stream, most, |rng| rng.below(u64::from(most) + 1) as usize)
    }

    /// An index into `weights`, in proportion to them. The first should be the plainest.
    pub(crate) fn weighted(&mut self, stream: Stream, weights: &[u32]) -> usize {
        let most = u32::try_from(weights.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        self.draw(stream, most, |rng| {
            let mut left = rng.below(sum);
            weights
                .iter()
                .position(|weight| match left.checked_sub(u64::from(*weight)) {
                    Some(rest) => {
                        left = rest;
                        false
                    }
                    None => true,
                })
                .unwrap_or(0)
        })
    }

    /// Yes in `per_mille` of a thousand cases; the plainest is no.
    pub(crate) fn chance(&mut self, stream: Stream, per_mille: u32) -> bool {
        self.weighted(stream, &[1000_u32.saturating_sub(per_mille), per_mille.min(1000)]) == 1
    }

    fn draw(&mut self, stream: Stream, most: u32, draw: impl FnOnce(&mut SplitMix64) -> usize) -> usize {
        let source = &mut self.sources[stream as usize];
        let choice = match &mut source.rng {
            Some(rng) => u32::try_from(draw(rng)).unwrap_or(u32::MAX),
            None => source.given.next().unwrap_or(0),
        }
        .min(most);
        source.made.push(choice);
        choice as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_repeats_what_a_seed_chose() {
        let choose = |choices: &mut Choices| -> Vec<usize> {
            (0..200)
                .map(|n| match n % 3 {
                    0 => choices.below(Stream::World, 7),
                    1 => choices.weighted(Stream::Faults, &[90, 5, 5]),
                    _ => usize::from(choices.chance(Stream::Schedule, 300)),
                })
                .collect()
        };
        let places = [Place::World, Place::Office];
        let mut seeded = places.map(|place| Choices::of_seed(5, place, EDITION));
        let chosen = seeded.each_mut().map(choose);
        assert!(chosen[0] != chosen[1] && chosen[0].iter().any(|choice| *choice > 1));
        let [world, office] = seeded.map(|choices| choices.made());
        let tape = Tape::of(world, office).trimmed();
        let read: Tape = tape.to_string().parse().expect("what is written can be read");
        assert_eq!(read, tape);
        for (place, chosen) in places.into_iter().zip(chosen) {
            assert_eq!(choose(&mut Choices::of_tape(&read, place)), chosen);
            assert_eq!(
                choose(&mut Choices::of_tape(&Tape::default(), place)),
                vec![0; 200]
            );
        }
    }

    /// Seeds that were kept go on to make the worlds that they made.
    #[test]
    fn what_was_added_since_an_edition_is_the_plainest_in_it() {
        let choose = |edition: u32| {
            let mut choices = Choices::of_seed(5, Place::World, edition);
            [Stream::Edits, Stream::Roles, Stream::Rarities]
                .map(|stream| (0..20).map(|_| choices.below(stream, 9)).collect::<Vec<_>>())
        };
        let [first, second] = [1, 2].map(choose);
        assert_eq!(first[..2], second[..2]);
        assert_eq!(first[2], vec![0; 20]);
        assert_ne!(first[2], second[2]);
    }

    #[test]
    fn a_text_that_is_no_tape_is_refused() {
        for text in [
            "",
            "1/2",
            "1/2/3/4/5/6/7/8/9/10/11/12/13",
            "x/0/0/0/0/0/0/0/0/0/0/0",
            "~99999999999/0/0/0/0/0/0/0/0/0/0/0",
            "~4000000000/0/0/0/0/0/0/0/0/0/0/0",
        ] {
            assert!(text.parse::<Tape>().is_err(), "{text}");
        }
    }
}
