//! Brazil, Mexico, Chile, Argentina, Colombia, Uruguay, Ecuador.

use crate::detect::{
    Anchor, Match,
    check::{Digits, luhn, short_day},
    detector::detectors,
};

detectors! {
    "br-cpf" => BrCpf {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-?[0-9]{2}|[0-9]{9}-?[0-9]{2}",
        law: |digits| {
            !digits.uniform()
                && mod11(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) == digits.at(9)
                && mod11(digits, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == digits.at(10)
        },
        near: &["cpf", "cadastro de pessoa", "pessoa fisica", "pessoa física"],
        finds: ["390.533.447-05", "CPF ⟦39053344705⟧"],
        leaves: ["390.533.447-06", "39053344705 x", "111.111.111-11"],
    }
    "br-cnpj" => BrCnpj {
        anchor: Anchor::Alnum(8),
        // With letters since July 2026.
        pattern: r"[0-9A-Z]{2}\.?[0-9A-Z]{3}\.?[0-9A-Z]{3}/?[0-9A-Z]{4}-?[0-9]{2}",
        validate: |found, near| if found.vouched(near) { found.whole_number().filter(|_| cnpj(found.text)) } else { None },
        near: &["cnpj"],
        finds: ["16.727.230/0001-97", "12.ABC.345/01DE-35", "CNPJ ⟦16727230000197⟧"],
        leaves: ["16.727.230/0001-98", "16727230000197 x"],
    }
    "br-cnh" => BrCnh {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{11}",
        validate: |found, near| if found.labelled(near) { found.lawful(cnh) } else { None },
        near: &["cnh", "carteira nacional", "habilitacao", "habilitação"],
        finds: ["CNH ⟦02650306461⟧"],
        leaves: ["CNH 02650306462", "02650306461"],
    }
    "br-pis" => BrPis {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{3}\.[0-9]{5}\.[0-9]{2}-?[0-9]|[0-9]{11}",
        validate: |found, near| {
            let law = |digits: &Digits| mod11(digits, &[3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == digits.at(10) && !digits.uniform();
            if found.labelled(near) || found.text.contains('.') { found.lawful(law) } else { None }
        },
        near: &["pis", "pasep", "nit ", "nis "],
        finds: ["120.56412.54-5", "PIS ⟦12056412545⟧"],
        leaves: ["120.56412.54-8", "12056412545"],
    }
    "br-cns" => BrCns {
        anchor: Anchor::Digits(15),
        pattern: r"[1-2789][0-9]{2} ?[0-9]{4} ?[0-9]{4} ?[0-9]{4}",
        validate: |found, near| {
            let law = |digits: &Digits| digits.weighted(&[15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11);
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["cns", "cartao nacional", "cartão nacional", "sus "],
        finds: ["CNS ⟦700 0000 0000 0005⟧"],
        leaves: ["CNS 700 0000 0000 0006", "700 0000 0000 0005"],
    }
    "br-titulo" => BrTitulo {
        anchor: Anchor::Digits(12),
        pattern: r"[0-9]{4} ?[0-9]{4} ?[0-9]{4}",
        validate: |found, near| if found.labelled(near) { found.lawful(titulo) } else { None },
        near: &["titulo", "título", "eleitor"],
        finds: ["título de eleitor ⟦0043 5687 0906⟧"],
        leaves: ["título 0043 5687 0907", "0043 5687 0906"],
    }
    "br-renavam" => BrRenavam {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{11}",
        validate: |found, near| {
            let law = |digits: &Digits| digits.weighted(&[3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) * 10 % 11 % 10 == digits.at(10);
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["renavam"],
        finds: ["RENAVAM ⟦12345678900⟧"],
        leaves: ["RENAVAM 12345678901", "12345678900"],
    }
    "mx-curp" => MxCurp {
        anchor: Anchor::Alnum(6),
        pattern: r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}[0-9A-Z][0-9]",
        validate: |found, _| {
            let date = found.text.get(4..10)?.parse().ok()?;
            if short_day(date) && curp(found.text) { found.whole_number() } else { None }
        },
        finds: ["BOXW310820HNERXN09"],
        leaves: ["BOXW310820HNERXN08", "BOXW311320HNERXN09"],
    }
    "mx-rfc" => MxRfc {
        anchor: Anchor::Alnum(6),
        pattern: r"[A-ZÑ&]{3,4}[0-9]{6}[0-9A-Z]{2}[0-9A]",
        validate: |found, near| {
            let digits = Digits::of(found.text);
            let person = found.text.chars().count() == 13;
            if short_day(digits.head(6)) && (found.named(near) || person) { found.whole_number() } else { None }
        },
        near: &["rfc", "registro federal"],
        finds: ["GODE561231GR8", "RFC: ⟦ABC680524P76⟧"],
        leaves: ["GODE561331GR8", "ABC680524P76 x"],
    }
    "cl-rut" => ClRut {
        anchor: Anchor::Alnum(7),
        pattern: r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}-[0-9Kk]|[0-9]{7,8}[0-9Kk]",
        validate: |found, near| {
            let told = found.text.matches('.').count() == 2 || found.named(near);
            if told { found.whole_number().filter(|_| rut(found.text)) } else { None }
        },
        near: &["rut", "run ", "rol unico", "rol único"],
        finds: ["12.531.909-2", "RUT ⟦12531909-2⟧"],
        leaves: ["12.531.909-3", "12531909-2 x", "125319092 x"],
    }
    "ar-cuit" => ArCuit {
        anchor: Anchor::Digits(11),
        pattern: r"(?:20|23|24|27|30|33|34)-?[0-9]{8}-?[0-9]",
        law: |digits| mod11(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) == digits.at(10),
        near: &["cuit", "cuil"],
        finds: ["20-05536168-2", "CUIT ⟦20055361682⟧"],
        leaves: ["20-05536168-3", "20055361682 x"],
    }
    "co-nit" => CoNit {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let rest = digits.weighted(&[41, 37, 29, 23, 19, 17, 13, 7, 3]) % 11;
                (if rest < 2 { rest } else { 11 - rest }) == digits.at(9)
            };
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["nit ", "nit"],
        finds: ["NIT ⟦213.123.432-1⟧"],
        leaves: ["NIT 213.123.432-2", "213.123.432-1"],
    }
    "uy-ci" => UyCi {
        anchor: Anchor::Digits(8),
        pattern: r"[0-9]\.[0-9]{3}\.[0-9]{3}-?[0-9]|[0-9]{7}-?[0-9]",
        validate: |found, near| {
            let law = |digits: &Digits| (10 - digits.weighted(&[2, 9, 8, 7, 6, 3, 4]) % 10) % 10 == digits.at(7);
            if found.labelled(near) || found.text.contains('.') { found.lawful(law) } else { None }
        },
        near: &["cedula", "cédula", "documento de identidad"],
        finds: ["1.234.567-2", "cédula ⟦12345672⟧"],
        leaves: ["1.234.567-3", "12345672"],
    }
    "ec-cedula" => EcCedula {
        anchor: Anchor::Digits(10),
        pattern: r"[0-2][0-9][0-5][0-9]{6}-?[0-9]",
        validate: |found, near| if found.labelled(near) { found.lawful(|digits| luhn(digits.all())) } else { None },
        near: &["cedula", "cédula"],
        finds: ["cédula ⟦171430710-3⟧"],
        leaves: ["cédula 1714307104", "1714307103"],
    }
}

/// The check digit of mod 11: eleven less the rest; nothing for ten and eleven.
fn mod11(digits: &Digits, weights: &[u32]) -> u32 {
    match digits.weighted(weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

fn cnpj(text: &str) -> bool {
    let values: Vec<u32> =
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| u32::from(b).saturating_sub(48)).collect();
    let check =
        |weights: &[u32]| match values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<u32>()
            % 11
        {
            0 | 1 => 0,
            rest => 11 - rest,
        };
    values.len() == 14
        && values.iter().any(|value| Some(value) != values.first())
        && Some(&check(&[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])) == values.get(12)
        && Some(&check(&[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])) == values.get(13)
}

fn cnh(digits: &Digits) -> bool {
    let first = digits.weighted(&[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 11;
    let less = if first > 9 { 2 } else { 0 };
    let second = digits.weighted(&[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11;
    let second = if second > 9 { 0 } else { (second + 11 - less) % 11 };
    let first = if first > 9 { 0 } else { first };
    !digits.uniform() && first == digits.at(9) && second % 10 == digits.at(10)
}

fn titulo(digits: &Digits) -> bool {
    let state = digits.number(8..10);
    let first = digits.weighted(&[2, 3, 4, 5, 6, 7, 8, 9]) % 11 % 10;
    let second = (digits.at(8) * 7 + digits.at(9) * 8 + first * 9) % 11 % 10;
    (1..=28).contains(&state) && first == digits.at(10) && second == digits.at(11)
}

/// Mexico: base 37 with Ñ between N and O.
fn curp(text: &str) -> bool {
    let value = |c: char| match c {
        '0'..='9' | 'A'..='N' => c.to_digit(36),
        'Ñ' => Some(24),
        c => c.to_digit(36).map(|value| value + 1),
    };
    let sum: u32 = text
        .chars()
        .take(17)
        .zip((2..=18).rev())
        .map(|(c, weight)| value(c).unwrap_or_default() * weight)
        .sum();
    text.chars().last().and_then(|c| c.to_digit(10)) == Some((10 - sum % 10) % 10)
}

fn rut(text: &str) -> bool {
    let mut values = text.chars().rev().filter(char::is_ascii_alphanumeric);
    let Some(check) = values.next() else { return false };
    let sum: u32 = values
        .filter_map(|c| c.to_digit(10))
        .zip([2, 3, 4, 5, 6, 7].iter().cycle())
        .map(|(digit, weight)| digit * weight)
        .sum();
    match 11 - sum % 11 {
        10 => check.eq_ignore_ascii_case(&'k'),
        value => check.to_digit(10) == Some(value % 11),
    }
}
