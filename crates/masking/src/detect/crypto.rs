//! Addresses of crypto currencies.

use super::{
    Anchor,
    check::{base58check, bech32, eip55},
    detector::detectors,
};

detectors! {
    "crypto-base58" => Crypto {
        // Bitcoin, Litecoin, Dogecoin, Dash, Tron, Ripple's is another alphabet; test networks too.
        anchor: Anchor::Token(25),
        pattern: r"[123mnLMD9AXTt][1-9A-HJ-NP-Za-km-z]{24,34}",
        validate: |found, _| found.whole_word().filter(|_| base58check(found.text)),
        finds: ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"],
        leaves: ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2x"],
    }
    "crypto-bech32" => Crypto {
        anchor: Anchor::PrefixNoCase(&["bc1", "tb1", "ltc1", "addr1", "cosmos1"]),
        pattern: r"(?:bc|tb|ltc|addr|cosmos)1[02-9ac-hj-np-z]{20,110}|(?:BC|TB|LTC)1[02-9AC-HJ-NP-Z]{20,90}",
        validate: |found, _| found.whole_word().filter(|_| bech32(found.text)),
        finds: [
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        ],
        leaves: ["bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp", "bc1qar0"],
    }
    "crypto-ethereum" => Crypto {
        anchor: Anchor::Prefix(&["0x"]),
        pattern: r"0x[0-9A-Fa-f]{40}",
        validate: |found, near| {
            let hex = found.text.get(2..)?;
            let mixed = hex.contains(|c: char| c.is_ascii_uppercase()) && hex.contains(|c: char| c.is_ascii_lowercase());
            let fits = if mixed { eip55(hex) } else { found.named(near) };
            found.whole_word().filter(|_| fits)
        },
        near: &["wallet", "ethereum", "eth ", "erc", "address", "account", "usdt", "usdc", "contract"],
        finds: [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "wallet ⟦0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed⟧",
        ],
        leaves: ["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "hash 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0x5aAeb6053F3E94C9"],
    }
}
