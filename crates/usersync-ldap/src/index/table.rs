//! A growing list that shares with its clones what they have in common.

use std::sync::Arc;

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// Values by number, counted from 0. Reading, changing and appending take O(log n), cloning O(1).
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    root: Arc<Part<T>>,
    /// How many branches lie above each leaf.
    height: u32,
    len: usize,
}

#[derive(Clone, Debug)]
enum Part<T> {
    Leaf(Vec<T>),
    Branch(Vec<Arc<Self>>),
}

impl<T: Clone> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        if number >= self.len {
            return None;
        }
        let mut part = &*self.root;
        let mut shift = BITS * self.height;
        loop {
            match part {
                Part::Leaf(values) => return values.get(number % WIDTH),
                Part::Branch(parts) => {
                    part = parts.get((number >> shift) % WIDTH)?;
                    shift -= BITS;
                }
            }
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let number = number as usize;
        if number >= self.len {
            return None;
        }
        let mut part = Arc::make_mut(&mut self.root);
        let mut shift = BITS * self.height;
        loop {
            match part {
                Part::Leaf(values) => return values.get_mut(number % WIDTH),
                Part::Branch(parts) => {
                    part = Arc::make_mut(parts.get_mut((number >> shift) % WIDTH)?);
                    shift -= BITS;
                }
            }
        }
    }

    /// Appends `value` and answers its number.
    pub(super) fn push(&mut self, value: T) -> u32 {
        let number = self.len;
        if number == WIDTH << (BITS * self.height) {
            self.root = Arc::new(Part::Branch(vec![Arc::clone(&self.root)]));
            self.height += 1;
        }
        let mut part = Arc::make_mut(&mut self.root);
        let mut shift = BITS * self.height;
        loop {
            match part {
                Part::Leaf(values) => {
                    values.push(value);
                    break;
                }
                Part::Branch(parts) => {
                    let at = (number >> shift) % WIDTH;
                    shift -= BITS;
                    if at == parts.len() {
                        parts.push(Arc::new(if shift == 0 {
                            Part::Leaf(Vec::with_capacity(WIDTH))
                        } else {
                            Part::Branch(Vec::new())
                        }));
                    }
                    part = Arc::make_mut(&mut parts[at]);
                }
            }
        }
        self.len += 1;
        u32::try_from(number).expect("memory ends before 2^32 values are kept")
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            root: Arc::new(Part::Leaf(Vec::new())),
            height: 0,
            len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_list() {
        let mut table = Table::default();
        let mut clones = Vec::new();
        for number in 0..300_000 {
            if number % 50_000 == 63 {
                clones.push(table.clone());
            }
            assert_eq!(table.push(number), number);
        }
        for number in (0..300_000).step_by(7) {
            *table.get_mut(number).unwrap() += 1;
        }
        for number in 0..300_000 {
            assert_eq!(table.get(number), Some(&(number + u32::from(number % 7 == 0))));
        }
        assert_eq!((table.len(), table.get(300_000)), (300_000, None));
        assert_eq!(table.get_mut(u32::MAX), None);
        for (at, clone) in clones.iter().enumerate() {
            let len = at * 50_000 + 63;
            assert_eq!(clone.len(), len);
            let last = u32::try_from(len).unwrap() - 1;
            assert_eq!((clone.get(last), clone.get(last + 1)), (Some(&last), None));
        }
    }
}
