/// Whether the last six characters are the CRC-32 of the others in base 62, as in tokens of GitHub and npm.
pub(crate) fn crc32_tail(text: &str) -> bool {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((body, tail)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let number =
        tail.chars().try_fold(0_u64, |number, c| Some(number * 62 + u64::try_from(ALPHABET.find(c)?).ok()?));
    number == Some(u64::from(crc32fast::hash(body.as_bytes())))
}
