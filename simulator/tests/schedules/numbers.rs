//! The names of a recorded run as the model knows them: counted as they come up.

/// The names of one kind.
pub(crate) struct Numbers<T>(Vec<T>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone + PartialEq> Numbers<T> {
    /// The number of the name that fits, if there is one.
    pub(crate) fn find(&self, fits: impl Fn(&T) -> bool) -> Option<u16> {
        self.0.iter().position(fits).map(narrow)
    }

    pub(crate) fn number(&mut self, name: &T) -> u16 {
        self.find(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.clone());
            narrow(self.0.len() - 1)
        })
    }

    pub(crate) fn of(&self, number: u16) -> T {
        self.0[usize::from(number)].clone()
    }
}

pub(crate) fn narrow<T: TryInto<u16>>(number: T) -> u16 {
    let narrow = number.try_into().ok();
    narrow.expect("a run counts no further than this")
}
