//! Texts that entries are named by, as dense numbers, and what each of them stands for.

use std::collections::HashMap;
use std::rc::Rc;

/// What a name stands for in the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// More than one entry.
    Many,
    /// An entry that is no principal.
    Other,
    /// The principal with this number.
    Principal(usize),
    /// Nothing that was seen.
    Unseen,
}

/// The names of one kind, each stored once.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// For look-ups only: nothing is iterated in its order.
    numbers: HashMap<Rc<str>, usize>,
    texts: Vec<Rc<str>>,
    meanings: Vec<Meaning>,
}

impl Names {
    pub(super) fn number(&mut self, text: &str) -> usize {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len();
        let text: Rc<str> = Rc::from(text);
        self.numbers.insert(Rc::clone(&text), number);
        self.texts.push(text);
        self.meanings.push(Meaning::Unseen);
        number
    }

    pub(super) fn find(&self, text: &str) -> Meaning {
        self.numbers
            .get(text)
            .map_or(Meaning::Unseen, |&number| self.meaning(number))
    }

    pub(super) fn text(&self, number: usize) -> &str {
        &self.texts[number]
    }

    pub(super) fn meaning(&self, number: usize) -> Meaning {
        self.meanings[number]
    }

    /// Lets the name stand for `meaning`, and answers whether it stood for something else before.
    pub(super) fn claim(&mut self, number: usize, meaning: Meaning) -> bool {
        let slot = &mut self.meanings[number];
        let taken = *slot != Meaning::Unseen && *slot != meaning;
        *slot = if taken { Meaning::Many } else { meaning };
        taken
    }
}
