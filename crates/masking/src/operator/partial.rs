//! Parts of a value that stay.

/// At least half of a value is hidden, however much a profile wants to keep: `keep_last = 8` of a short number would
/// keep it whole.
fn bounded(kept: usize, characters: usize) -> usize {
    kept.min(characters / 2)
}

/// The first `kept` letters and digits stay; separators stay where they are.
pub(super) fn keep_first(value: &str, kept: usize, out: &mut String) {
    let total = value.chars().filter(|c| c.is_alphanumeric()).count();
    let kept = bounded(kept, total);
    keep(value, |nth| nth < kept, out);
}

/// The last `kept` letters and digits stay; separators stay where they are.
pub(super) fn keep_last(value: &str, kept: usize, out: &mut String) {
    let total = value.chars().filter(|c| c.is_alphanumeric()).count();
    let hidden = total - bounded(kept, total);
    keep(value, |nth| nth >= hidden, out);
}

fn keep(value: &str, stays: impl Fn(usize) -> bool, out: &mut String) {
    let mut nth = 0;
    out.extend(value.chars().map(|c| {
        if !c.is_alphanumeric() {
            return c;
        }
        let shown = if stays(nth) { c } else { '*' };
        nth += 1;
        shown
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(value: &str, kept: usize) -> String {
        let mut out = String::new();
        keep_last(value, kept, &mut out);
        out
    }

    #[test]
    fn separators_stay_and_at_least_half_is_hidden() {
        assert_eq!(last("4111-1111-1111-1234", 4), "****-****-****-1234");
        assert_eq!(last("536-90-4399", 200), "***-**-4399");
        assert_eq!(last("", 4), "");
        let mut out = String::new();
        keep_first("maria.keller@example.com", 1, &mut out);
        assert_eq!(out, "m****.******@*******.***");
    }
}
