//! The page about masking is compared with the table, so that it cannot rot; its Rust is run.

/// `docs/masking.md`.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/masking.md")]
struct Guide;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write as _, fs};

    use crate::{Entity, detect::detectors};

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/masking.md");

    /// Context words shown of an entity; the rest are counted.
    const SHOWN: usize = 6;

    fn table() -> String {
        let mut table = "| entity | what it is | detectors | near | |\n|---|---|---|---|---|\n".to_owned();
        for entity in Entity::ALL {
            let of = || detectors().filter(|detector| detector.entity == *entity);
            let names: Vec<_> = of().map(|detector| detector.name).collect();
            let words: BTreeSet<_> = of().flat_map(|detector| detector.context).copied().collect();
            let mut near: Vec<String> = words.iter().take(SHOWN).map(|word| word.trim().to_owned()).collect();
            if words.len() > SHOWN {
                near.push(format!("and {} more", words.len() - SHOWN));
            }
            let bound = if entity.is_unbounded() { "unbounded" } else { "" };
            let (names, near) = (names.join(", "), near.join(", "));
            writeln!(table, "| `{entity}` | {} | {names} | {near} | {bound} |", entity.about()).unwrap();
        }
        table
    }

    #[test]
    fn the_guide_lists_every_entity() {
        let page = fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once("<!-- entities -->\n").unwrap();
        let (listed, after) = rest.split_once("<!-- end of entities -->").unwrap();
        if std::env::var_os("CREWGATE_WRITE_DOCS").is_some() {
            let page = format!("{before}<!-- entities -->\n{}<!-- end of entities -->{after}", table());
            fs::write(PAGE, page).unwrap();
            return;
        }
        assert_eq!(
            listed,
            table(),
            "CREWGATE_WRITE_DOCS=1 cargo test -p crewgate-masking the_guide_lists_every_entity"
        );
    }
}
