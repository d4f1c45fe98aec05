use std::collections::BTreeMap;

/// The decimal digits of a text, whatever stands between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digits(Vec<u32>);

impl Digits {
    pub(crate) fn of(text: &str) -> Self {
        let mut digits = Vec::with_capacity(text.len());
        digits.extend(text.chars().filter_map(|c| c.to_digit(10)));
        Self(digits)
    }

    pub(crate) fn all(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// One digit; zero behind the end.
    pub(crate) fn at(&self, index: usize) -> u32 {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// The number these digits write; zero where there are none. At most nineteen.
    pub(crate) fn number(&self, range: std::ops::Range<usize>) -> u64 {
        self.0.get(range).unwrap_or_default().iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
    }

    /// The number the first `n` digits write.
    pub(crate) fn head(&self, n: usize) -> u64 {
        self.number(0..n.min(self.len()))
    }

    /// The sum of the digits, each times its weight.
    pub(crate) fn weighted(&self, weights: &[u32]) -> u32 {
        self.0.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
    }

    /// Whether all digits are the same one.
    pub(crate) fn uniform(&self) -> bool {
        self.0.windows(2).all(|pair| pair.first() == pair.last())
    }
}

/// Shannon entropy of a text in bits per character.
pub(crate) fn entropy(text: &str) -> f64 {
    let mut counts = BTreeMap::<char, u32>::new();
    for c in text.chars() {
        *counts.entry(c).or_default() += 1;
    }
    let all: u32 = counts.values().sum();
    counts
        .values()
        .map(|count| {
            let share = f64::from(*count) / f64::from(all);
            -share * share.log2()
        })
        .sum()
}
