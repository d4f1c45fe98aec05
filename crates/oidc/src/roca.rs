/// Primes up to 167, without 2: the ones whose residues give the fingerprint.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether this modulus was made by the Infineon library of CVE-2017-15361 (ROCA), whose keys can be factored.
///
/// Its primes are powers of 65537 modulo the product of small primes, so the modulus is one too. A sound modulus has
/// that property modulo all of these primes with a chance of about 2^-28.
pub(crate) fn is_suspect(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let residue = modulus.iter().fold(0, |acc, &byte| (acc * 256 + u32::from(byte)) % prime);
        is_power_of_65537(residue, prime)
    })
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * (65537 % prime) % prime;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_65537_is_suspect_and_its_neighbour_is_not() {
        // 65537^8 = 2^128 + 8·2^112 + 28·2^96 + …: the binomial coefficients, two bytes apart.
        let power = [1, 0, 8, 0, 28, 0, 56, 0, 70, 0, 56, 0, 28, 0, 8, 0, 1];
        assert!(is_suspect(&power));
        let mut neighbour = power;
        neighbour[16] = 3;
        assert!(!is_suspect(&neighbour));
    }
}
