//! Devices and vehicles.

use super::{
    Anchor,
    check::{Digits, luhn},
    detector::detectors,
};

detectors! {
    "imei" => Imei {
        anchor: Anchor::Digits(14),
        pattern: r"[0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{6}[ -]?[0-9]{1,2}",
        validate: |found, near| {
            let written = found.text.matches('-').count() == 3;
            let named = found.labelled(near);
            let law = |digits: &Digits| if digits.len() == 16 { named } else { luhn(digits.all()) };
            if named && written { found.whole_number() } else if named || written || found.is_whole_text() { found.lawful(law) } else { None }
        },
        near: &["imei", "equipment identity", "equipmentidentity", "device id"],
        finds: ["IMEI: ⟦490154203237518⟧", "49-015420-323751-8", "\"mobile_equipment_identity\": \"⟦21-590109-281590-1⟧\""],
        leaves: ["490154203237518 x", "IMEI 490154203237519", "49-015420-323751-9"],
    }
    "imsi" => Imsi {
        anchor: Anchor::Digits(14),
        // ITU-T E.212: countries are 200 to 799.
        pattern: r"[2-7][0-9]{13,14}",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["imsi", "subscriber identity"],
        finds: ["IMSI ⟦262011234567890⟧"],
        leaves: ["262011234567890", "IMSI 162011234567890"],
    }
    "iccid" => Iccid {
        anchor: Anchor::Digits(19),
        // ITU-T E.118: 89 for telecommunication.
        pattern: r"89[0-9]{2}(?: ?[0-9]{4}){3} ?[0-9]{3,4}",
        validate: |found, _| found.lawful(|digits| luhn(digits.all())),
        finds: ["8991101200003204514", ],
        leaves: ["8991101200003204515", "899110120000320451"],
    }
    "vin" => Vin {
        anchor: Anchor::Alnum(5),
        pattern: r"[A-HJ-NPR-Z0-9]{8}[0-9X][A-HJ-NPR-Z0-9]{4}[0-9]{4}",
        validate: |found, near| {
            let letters = found.text.contains(|c: char| c.is_ascii_alphabetic());
            if letters && (vin(found.text) || found.labelled(near)) { found.whole_number() } else { None }
        },
        near: &["vin", "vehicle identification", "fahrgestell", "chassis", "nadwozia"],
        finds: ["1M8GDM9AXKP042788", "VIN ⟦WVWZZZ1J0XW000001⟧"],
        leaves: ["1M8GDM9AXKP042789", "11111111111111111"],
    }
    "license-plate" => LicensePlate {
        anchor: Anchor::Alnum(1),
        pattern: r"(?:[A-Z]{1,3}[ ·-]?(?:[A-Z]{1,2}[ ·-]?)?[0-9]|[a-z]{1,3}-?[0-9]|[0-9])[A-Za-z0-9]{0,5}(?:[ ·-]?[A-Za-z0-9]{1,5}){0,2}",
        validate: |found, near| {
            let digits = found.text.bytes().filter(u8::is_ascii_digit).count();
            let letters = found.text.bytes().filter(u8::is_ascii_alphabetic).count();
            let written = digits >= 1 && digits + letters <= 9 && digits + letters >= 4;
            let told = found.labelled(near) && (letters >= 1 || digits >= 6);
            if written && told { found.whole_number() } else { None }
        },
        near: &[
            "license plate", "licence plate", "lic plate", "licplate", "licenseplate", "number plate", "plate number", "plate no", "registration plate",
            "vehicle registration", "kennzeichen", "matricula", "matrícula", "tablica", "plaque", "targa",
        ],
        finds: ["license plate ⟦HTU-000⟧", "\"lic_plate\": \"⟦22T P03⟧\"", "Kennzeichen ⟦M AB 123⟧"],
        leaves: ["HTU-000", "license plate of the car"],
    }
}

/// Part 565 of Title 49 CFR: transliterated, weighted, mod 11 at the ninth place.
fn vin(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |c: char| match c {
        '0'..='9' => c.to_digit(10).unwrap_or_default(),
        'A'..='I' => c.to_digit(36).unwrap_or_default() - 9,
        'J'..='R' => c.to_digit(36).unwrap_or_default() - 18,
        _ => c.to_digit(36).unwrap_or_default() - 26,
    };
    let sum: u32 = text.chars().map(value).zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    let check = text.chars().nth(8);
    if sum % 11 == 10 { check == Some('X') } else { check.and_then(|c| c.to_digit(10)) == Some(sum % 11) }
}
