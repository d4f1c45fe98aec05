/// Verhoeff's law: the dihedral group of ten elements, by its multiplication rather than its tables.
pub(crate) fn verhoeff(digits: &[u32]) -> bool {
    let sum =
        digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| {
            multiply(sum, (0..place % 8).fold(*digit, |digit, _| permute(digit)))
        });
    sum == 0
}

/// Five rotations, then five reflections.
fn multiply(a: u32, b: u32) -> u32 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

fn permute(digit: u32) -> u32 {
    const ONCE: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    usize::try_from(digit).ok().and_then(|digit| ONCE.get(digit)).copied().unwrap_or_default()
}
