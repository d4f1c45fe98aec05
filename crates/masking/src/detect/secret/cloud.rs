//! Clouds and infrastructure.

use super::keys;

keys! {
    "aws-access-key-id" => {
        Anchor::Prefix(&["AKIA", "ASIA", "ABIA", "ACCA"]), r"A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}", 2.5,
        finds: ["AKIA7KLFYYLBEG3RHDSV"],
        leaves: ["AKIA7KLFYY"],
    }
    "azure-client-secret" => {
        Anchor::Token(32), r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", 3.0,
        finds: ["dqU8Q~C8DwRDe03wkPM15uelHuoUzaZhX4lp4aZu"],
        leaves: ["dqU8Q~C8DwRDe03wkPM1"],
    }
    "gcp-api-key" => {
        Anchor::Prefix(&["AIza"]), r"AIza[A-Za-z0-9_-]{35}", 3.0,
        finds: ["AIzaDig1ohQTTIDVrZfrytORAzb3do7gwiqTuLM"],
        leaves: ["AIzaDig1ohQTTIDVrZfrytORAzb3do7gwiqT"],
    }
    "google-oauth-token" => {
        Anchor::Prefix(&["ya29."]), r"ya29\.[A-Za-z0-9_-]{20,}", 3.0,
        finds: ["ya29.os6ecjsro5K0a8uCI0QrHsbhPVKtsoSQ63hVZL8ibTpNrnBZOC51fEOGDVBZ"],
        leaves: ["ya29.os6ecjsro5K0"],
    }
    "google-oauth-secret" => {
        Anchor::Prefix(&["GOCSPX-"]), r"GOCSPX-[A-Za-z0-9_-]{28}", 3.0,
        finds: ["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"],
        leaves: ["GOCSPX-dP8MfMqP5Z"],
    }
    "digitalocean-token" => {
        Anchor::Prefix(&["dop_v1_", "doo_v1_", "dor_v1_"]), r"do[opr]_v1_[a-f0-9]{64}", 3.0,
        finds: ["dop_v1_bc13d2a43a6ada270691286d33cd6909d4585e48b7f8b97acc97187c257354d2"],
        leaves: ["dop_v1_bc13d2a43a6ada270691286d33cd"],
    }
    "databricks-token" => {
        Anchor::Prefix(&["dapi", "dose"]), r"(?:dapi|dose)[a-f0-9]{32}(?:-[0-9])?", 3.0,
        finds: ["dapic366eb5300ff4ea9117e51cd4d87cd1c"],
        leaves: ["dapic366eb5300ff4e"],
    }
    "vault-token" => {
        Anchor::Prefix(&["hvs.", "hvb.", "hvr."]), r"hv[sbr]\.[A-Za-z0-9_-]{24,}", 3.0,
        finds: ["hvs.HwynFzWrjHYJ5pZsjXKkiV6ik652WfqSvfoS3cFy"],
        leaves: ["hvs.HwynFzWrjHYJ5pZsjX"],
    }
    "terraform-token" => {
        Anchor::Token(32), r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}", 3.0,
        finds: ["LCDGdS25SpDDtE.atlasv1.YlYGDERBtzbw4NzRk6SyqSUneT1Ixr1U8G1YPkm9oE1mqH4nMwi1yXnoKwFT1k6I"],
        leaves: ["LCDGdS25SpDDtE.atlasv1.YlYGDERBtzbw4NzRk6Sy"],
    }
    "heroku-key" => {
        Anchor::Prefix(&["HRKU-"]), r"HRKU-[A-Za-z0-9_-]{36,60}", 3.0,
        finds: ["HRKU-g3TtWzK7BCCTmfYw8dGkACN26CdbBYy7PIeCZ80X5UwhQM1XhGkK7GWXiBzK"],
        leaves: ["HRKU-g3TtWzK7BCCTmfYw8dGkACN26Cd"],
    }
    "fly-token" => {
        Anchor::Prefix(&["fo1_", "FlyV1 "]), r"(?:fo1_[A-Za-z0-9_-]{43}|FlyV1 fm[12][ar]?_[A-Za-z0-9+/=,_-]{100,})", 3.0,
        finds: ["fo1_jPrl4SqY17nTpD88AM4FvuPB5cukr87XpKUMiK3ZlP1"],
        leaves: ["fo1_jPrl4SqY17nTpD88AM4"],
    }
    "pulumi-token" => {
        Anchor::Prefix(&["pul-"]), r"pul-[a-f0-9]{40}", 3.0,
        finds: ["pul-2e2976ca18f87c57aad11420a85d014b567557d3"],
        leaves: ["pul-2e2976ca18f87c57aa"],
    }
    "planetscale-key" => {
        Anchor::Prefix(&["pscale_"]), r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,64}", 3.0,
        finds: ["pscale_tkn_SCkZGPeis6ENvn5x4ndCE7wbVIZUoaR7Y11Ah6Mmapi"],
        leaves: ["pscale_tkn_SCkZGPeis6ENvn5x"],
    }
    "doppler-token" => {
        Anchor::Prefix(&["dp."]), r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,60}", 3.0,
        finds: ["dp.pt.BA9ioqd1630cuRcrauAfNyvkWqZPlucADt2RiHeHVlL"],
        leaves: ["dp.pt.BA9ioqd1630cuRcrau"],
    }
    "yandex-key" => {
        Anchor::Prefix(&["AQVN", "t1."]), r"(?:AQVN[A-Za-z0-9_-]{35,38}|t1\.[A-Z0-9a-z_-]+=*\.[A-Z0-9a-z_-]{86}=*)", 3.0,
        finds: ["AQVNB5o7NBNCtiShvCqxpqJwjqH3QB38jZFQFb8M"],
        leaves: ["AQVNB5o7NBNCtiShvCqx"],
    }
    "age-secret-key" => {
        Anchor::Prefix(&["AGE-SECRET-KEY-1"]), r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", 3.0,
        finds: ["AGE-SECRET-KEY-179YN9X646JSA93UJGRK8UEW2Q0JMKSXNH4JYZ7XHZ3FR9M0ZFKRTZ5M7DU"],
        leaves: ["AGE-SECRET-KEY-179YN9X646JSA93UJGRK8U"],
    }
}
