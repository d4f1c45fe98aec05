//! Models, payments and messages.

use super::keys;

keys! {
    "openai-key" => {
        Anchor::Prefix(&["sk-"]), r"sk-(?:[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}|(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{16,})", 3.0,
        finds: ["sk-proj-DGyROXDXd5YNjhGfkVfw6OjmDSeDpAYgn3X4WfkghLemWBJA"],
        leaves: ["sk-proj-DGyROXDX"],
    }
    "anthropic-key" => {
        Anchor::Prefix(&["sk-ant-"]), r"sk-ant-(?:api|admin|sid|oat)[0-9]{2}-[A-Za-z0-9_-]{40,}", 3.0,
        finds: ["sk-ant-api03-3uXg0WUK8QuDOWS5POnebjL13XJE4pafxtQgioASCCPJkfMnYJyqglkDHH5N77HpRLHUO4cduMgtnvbpjA7x722DEkCnBAA"],
        leaves: ["sk-ant-api03-3uXg0WUK8QuD"],
    }
    "secret-key-dashed" => {
        Anchor::Prefix(&["sk-", "pk-"]), r"[sp]k-[A-Za-z0-9_-]{16,}", 3.5,
        finds: ["sk-Wt34EIYVWkgX22T96ExOrb36V8b6z93y"],
        leaves: ["sk-abcabcabcabcabcabc"],
    }
    "hugging-face-token" => {
        Anchor::Prefix(&["hf_", "api_org_"]), r"(?:hf_[A-Za-z0-9]{30,40}|api_org_[A-Za-z]{34})", 3.0,
        finds: ["hf_iUFxpvr0iOVC2ptWHoItTjJNIPlIzK2sKp"],
        leaves: ["hf_iUFxpvr0iOVC2pt"],
    }
    "groq-key" => {
        Anchor::Prefix(&["gsk_"]), r"gsk_[A-Za-z0-9]{48,56}", 3.0,
        finds: ["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"],
        leaves: ["gsk_hSJdsRpdIJRQADENtgCxa3Q9"],
    }
    "perplexity-key" => {
        Anchor::Prefix(&["pplx-"]), r"pplx-[A-Za-z0-9]{40,56}", 3.0,
        finds: ["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"],
        leaves: ["pplx-T1JxXYt28nA7HsEm7jfI7"],
    }
    "replicate-token" => {
        Anchor::Prefix(&["r8_"]), r"r8_[A-Za-z0-9]{37}", 3.0,
        finds: ["r8_mB2teURlb7grMROaeMM9MW4VMVARmQoe0AWre"],
        leaves: ["r8_mB2teURlb7grMROae"],
    }
    "xai-key" => {
        Anchor::Prefix(&["xai-"]), r"xai-[A-Za-z0-9]{70,90}", 3.0,
        finds: ["xai-yk6tYE4ZDnv6gjmM9oeGIeV1njnV1GVG9TYC7DiV0v5dKyrGzBd1b2HpngondpMDJGAmENbg5NuhR9ij"],
        leaves: ["xai-yk6tYE4ZDnv6gjmM9oeGIeV1njnV1GVG9TYC7D"],
    }
    "tavily-key" => {
        Anchor::Prefix(&["tvly-"]), r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{30,40}", 3.0,
        finds: ["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"],
        leaves: ["tvly-dev-9SJbPvGYZ5d"],
    }
    "langsmith-key" => {
        Anchor::Prefix(&["lsv2_"]), r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}", 3.0,
        finds: ["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"],
        leaves: ["lsv2_pt_06a7943bbf52ef66d"],
    }
    "crewgate-key" => {
        Anchor::Prefix(&["cgr_"]), r"cgr_[A-Za-z0-9]{32,128}", 3.0,
        finds: ["cgr_8b7e8871a3c2f950be540c6ecf4577d4989bf8798b79ed51efa755bc43dd208d"],
        leaves: ["cgr_8b7e8871a3c2f950be540c6ecf4577"],
    }
    "stripe-key" => {
        Anchor::Prefix(&["sk_", "rk_", "whsec_"]), r"(?:[rs]k_(?:live|test|prod)_[A-Za-z0-9]{16,200}|whsec_[A-Za-z0-9+/=]{32,64})", 2.5,
        finds: ["sk_live_suMA0hlbvB0WyyPUGvkEYbvW"],
        leaves: ["sk_live_suMA0hlb"],
    }
    "square-token" => {
        Anchor::Prefix(&["EAAA", "sq0"]), r"(?:EAAA[A-Za-z0-9_-]{56,60}|sq0[a-z]{3}-[A-Za-z0-9_-]{22,43})", 3.0,
        finds: ["sq0atp-sr1QSltYyUGKM9uYBePKMD"],
        leaves: ["sq0atp-sr1QSlt"],
    }
    "shopify-token" => {
        Anchor::Prefix(&["shp"]), r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", 2.5,
        finds: ["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"],
        leaves: ["shpat_5b81a9e33d7dd"],
    }
    "slack-token" => {
        Anchor::Prefix(&["xox", "xapp-", "xoxe"]), r"(?:xox[abpors]-[A-Za-z0-9-]{10,250}|xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-z0-9]+|xoxe(?:\.xox[bp])?-[0-9]-[A-Za-z0-9]{140,180})", 2.5,
        finds: ["xoxb-891819928727-NYBzVZ2NYLXmIclk8BawuV6C"],
        leaves: ["xoxb-8918"],
    }
    "slack-webhook" => {
        Anchor::Prefix(&["https://hooks.slack.com/"]), r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,60}", 3.0,
        finds: ["https://hooks.slack.com/services/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"],
        leaves: ["https://hooks.slack.com/services/TY3KJ5"],
    }
    "discord-webhook" => {
        Anchor::Prefix(&["https://discord"]), r"https://discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,80}", 3.0,
        finds: ["https://discord.com/api/webhooks/178551630723031495/33fxUDkgGZZ3473rZL9Q61yrvIM5Sa5c5XYN4EJoxlfb3E28EFCPgkEwlznP9Lj8VDCN"],
        leaves: ["https://discord.com/api/webhooks/178551630723031495/33fxUDkg"],
    }
    "discord-bot-token" => {
        Anchor::Token(32), r"[MNO][A-Za-z0-9]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}", 3.5,
        finds: ["MTLRrOx1WIgD4Lw5hVFCDkEN1X.HF0Jvt.A0GSsmJaVzM3pLQHoiWFlqp2tW5cNiKtxatDiE"],
        leaves: ["MTLRrOx1WIgD4Lw5hVFCDkEN1X.HF0Jvt.A0"],
    }
    "telegram-bot-token" => {
        Anchor::Digits(8), r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", 3.0,
        finds: ["7183256954:AA42RwvmhOM4fhYE1LWLHwZiMwFoj9dXOb6"],
        leaves: ["7183256954:AA42RwvmhOM4"],
    }
    "twilio-key" => {
        Anchor::Prefix(&["SK"]), r"SK[0-9a-f]{32}", 3.0,
        finds: ["SK275d1bfceef13852b33a9621aa7b6fb4"],
        leaves: ["SK275d1bfceef1385"],
    }
    "sendgrid-key" => {
        Anchor::Prefix(&["SG."]), r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", 3.0,
        finds: ["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"],
        leaves: ["SG.TfcByzDm2mrUoyDXB3gRGt.C59BBFcc"],
    }
    "mailgun-key" => {
        Anchor::Prefix(&["key-", "pubkey-"]), r"(?:pub)?key-[a-f0-9]{32}", 3.0,
        finds: ["key-966ec371a193c644bd3af2286230586f"],
        leaves: ["key-966ec371a193c6"],
    }
    "mailchimp-key" => {
        Anchor::Token(32), r"[a-f0-9]{32}-us[0-9]{1,2}", 3.0,
        finds: ["2674c8122773e09df57bc211a43ad009-us12"],
        leaves: ["2674c8122773e09df5"],
    }
    "sendinblue-key" => {
        Anchor::Prefix(&["xkeysib-"]), r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}", 3.0,
        finds: ["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"],
        leaves: ["xkeysib-db67e4425f85482462de9839087d8be8a1cf"],
    }
    "airtable-token" => {
        Anchor::Prefix(&["pat"]), r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}", 3.0,
        finds: ["patJHNRPdZI2X14FY.a84b34ae1174fed32ec34ece956d9cd389a0a072ee12d521cb3ea925c8c2511d"],
        leaves: ["patJHNRPdZI2X14FY.a84b34ae1174fed32ec34ec"],
    }
    "dropbox-token" => {
        Anchor::Prefix(&["sl."]), r"sl\.(?:u\.)?[A-Za-z0-9_=-]{130,}", 3.0,
        finds: ["sl.XqJ56CVoAbP05V3NQiXzqVgIPmtq8mH1zsUadvCBxlRzqE78mtpi5ep3TiTJQWUXrqDEG5WCceYDOhxMmPum9WyAhtPs2INiarOOgLy5mWG56BcndrB0CC6SdbL1MbMWNz453b4s"],
        leaves: ["sl.XqJ56CVoAbP05V3NQiXzqVgIPmtq8mH1zsUadvCBxlRzqE78mtpi5ep3TiTJQWUXrq"],
    }
    "facebook-token" => {
        Anchor::Prefix(&["EAA"]), r"EAA(?:M|C|B)[A-Za-z0-9]{100,}", 3.0,
        finds: ["EAACEsj0zltBc3v6YtNUT2xmgz40Bt9ymDAQCQQwR21QbNrvYy76XloSMGgx7Rapb3yNzbipZtfj9vFos0LH5r9syyjbEQKJBZr48SziLKf8pGCM6PguruQgBgTFx"],
        leaves: ["EAACEsj0zltBc3v6YtNUT2xmgz40Bt9ymDAQCQQwR21QbNrvYy76XloSMGgx7R"],
    }
    "easypost-key" => {
        Anchor::Prefix(&["EZ"]), r"EZ[AT]K[A-Za-z0-9]{54}", 3.0,
        finds: ["EZAKTlpgaEaQ7OJWwihufTaYplEiOvOln9bfXLm8S3BaIPKDKDT6HlALkE"],
        leaves: ["EZAKTlpgaEaQ7OJWwihufTaYplEiO"],
    }
    "typeform-token" => {
        Anchor::Prefix(&["tfp_"]), r"tfp_[A-Za-z0-9_.=-]{44,59}", 3.0,
        finds: ["tfp_yMOCVnJN3YvLHZoI63neq1lo4AHMdqj0i31EdK47JWsG_n3iOrc2e18ZXNg"],
        leaves: ["tfp_yMOCVnJN3YvLHZoI63neq1lo4AH"],
    }
    "adafruit-key" => {
        Anchor::Prefix(&["aio_"]), r"aio_[A-Za-z0-9]{28}", 3.0,
        finds: ["aio_wsq99F9KIj1OMm8F2pT0fo4NlfKN"],
        leaves: ["aio_wsq99F9KIj1O"],
    }
}
