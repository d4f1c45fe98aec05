//! Code hosting, packages and delivery.

use super::keys;

keys! {
    "github-token" => {
        Anchor::Prefix(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]), r"gh[pousr]_[A-Za-z0-9]{36,251}", 3.0,
        finds: ["ghp_L5Hm1yR0nhlJXKOvvVPwBJ8HKOGoDAD9LSrs", "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"],
        leaves: ["ghp_L5Hm1yR0nhlJXKOv"],
    }
    "github-fine-grained" => {
        Anchor::Prefix(&["github_pat_"]), r"github_pat_[A-Za-z0-9_]{36,255}", 3.0,
        finds: ["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"],
        leaves: ["github_pat_5DuNjJKxrQYeO8vET1JLgs_zrgYFtZihY6R"],
    }
    "gitlab-token" => {
        Anchor::Prefix(&["gl"]), r"gl(?:pat|ptt|dt|rt|cbt|soat|agent|ft|imt|oas|rtr|wt)-[A-Za-z0-9_.-]{20,64}", 3.0,
        finds: ["glpat-hQLQmFJb0TKGQxOA72gG"],
        leaves: ["glpat-hQLQmFJ"],
    }
    "gitlab-runner" => {
        Anchor::Prefix(&["GR1348941"]), r"GR1348941[A-Za-z0-9_-]{20}", 3.0,
        finds: ["GR1348941Cx5KsdZfvQMGiFoHU0ve"],
        leaves: ["GR1348941Cx5Ks"],
    }
    "npm-token" => {
        Anchor::Prefix(&["npm_"]), r"npm_[A-Za-z0-9]{36}", 3.0,
        finds: ["npm_TeJuROyYEQ3c7QHUmK9ZugiajSAM9Cdipyst", "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"],
        leaves: ["npm_TeJuROyYEQ3c7QHU"],
    }
    "pypi-token" => {
        Anchor::Prefix(&["pypi-"]), r"pypi-[A-Za-z0-9_-]{50,}", 3.0,
        finds: ["pypi-AgEIcHlwaS5vcmcgNaVQgcaK7e3vO9uCTOLFtCLKwvAGM9xcOrexNCb0MTscTJxs6VTd4YskCQv"],
        leaves: ["pypi-AgEIcHlwaS5vcmcgNaVQgcaK7e3vO9uCTOL"],
    }
    "rubygems-key" => {
        Anchor::Prefix(&["rubygems_"]), r"rubygems_[a-f0-9]{48}", 3.0,
        finds: ["rubygems_e6aa17fd14fd5a2eb4e60ebf4c74efd7e3ad68d81a7175bc"],
        leaves: ["rubygems_e6aa17fd14fd5a2eb4e"],
    }
    "clojars-token" => {
        Anchor::Prefix(&["CLOJARS_"]), r"CLOJARS_[a-z0-9]{60}", 3.0,
        finds: ["CLOJARS_30z6cheebfyvcgroajwsk8uwktqix4firir9tivfaz2b6epu9vqi6xdvcy4a"],
        leaves: ["CLOJARS_30z6cheebfyvcgroajwsk8uwkt"],
    }
    "docker-token" => {
        Anchor::Prefix(&["dckr_"]), r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,32}", 3.0,
        finds: ["dckr_pat_41g2LgfGKu3Dv7hQWF3K3VLGFDw"],
        leaves: ["dckr_pat_41g2LgfGK"],
    }
    "atlassian-token" => {
        Anchor::Prefix(&["ATATT3", "ATCTT3", "ATBB"]), r"(?:AT[AC]TT3[A-Za-z0-9_=-]{100,220}|ATBB[A-Za-z0-9]{24,40})", 3.0,
        finds: ["ATATT3sXqbhtMhPp8Or10Zta5jf4X2j3HlkCzSfIxAelF81gRqoSzj7U9lYfxIszuk5olni2uA1NOJQrn54JEf0cNkRDlGO0MEZwZNcsFXNkAvtfC40MaeKfY1aV7EoCpciIAHibhKIxqQIas4YcnSsQnxgTWPpjKXSGSYroX7TSzQ0pk7LUoxPLT6"],
        leaves: ["ATATT3sXqbhtMhPp8Or10Zta5jf4X2j3HlkCzSfIxAelF81gRqoSzj7U9lYfxIszuk5olni2uA1NOJQrn54JEf0cNkRDl"],
    }
    "postman-key" => {
        Anchor::Prefix(&["PMAK-"]), r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}", 3.0,
        finds: ["PMAK-8e0f171b14361ba8cc03c7e6-2f72b7f619da077fee76122b7c8ba96192"],
        leaves: ["PMAK-8e0f171b14361ba8cc03c7e6-2f"],
    }
    "grafana-token" => {
        Anchor::Prefix(&["glsa_", "glc_"]), r"(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,200}=*)", 3.0,
        finds: ["glsa_29b66qhyXgJ1d2QDfHTf3rJnd6PMENWf_aa7a29b8"],
        leaves: ["glsa_29b66qhyXgJ1d2QDfH"],
    }
    "sentry-token" => {
        Anchor::Prefix(&["sntrys_", "sntryu_"]), r"sntry(?:s_eyJ[A-Za-z0-9+/=_]{80,}|u_[a-f0-9]{64})", 3.0,
        finds: ["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"],
        leaves: ["sntryu_66fa46c7da4e04f3dd16bc5fbc4c"],
    }
    "new-relic-key" => {
        Anchor::Prefix(&["NRAK-", "NRJS-", "NRII-", "NRRA-"]), r"NR(?:AK-[A-Z0-9]{27}|JS-[a-f0-9]{19}|II-[A-Za-z0-9-]{32}|RA-[a-f0-9]{42})", 3.0,
        finds: ["NRAK-UGVR5GFEFUGPLZYDUNRVNEYHGZ6"],
        leaves: ["NRAK-UGVR5GFEFUG"],
    }
    "dynatrace-token" => {
        Anchor::Prefix(&["dt0"]), r"dt0[a-zA-Z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}", 3.0,
        finds: ["dt0c01.ALMYOWVXRDQJ4IZZXTLNFU3R.LTXRDKNOXZABUBC2X3B6FKBBK7462XBGZX7KYGSOIS5FYITD5WSIROGTLADQ6PTI"],
        leaves: ["dt0c01.ALMYOWVXRDQJ4IZZXTLNFU3R.LTXRDKNOXZABUBC2"],
    }
    "linear-key" => {
        Anchor::Prefix(&["lin_"]), r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}", 3.0,
        finds: ["lin_api_IfdiA6PfKNoO3Ssn9fesf9y8AEndjz36o8WViKOr"],
        leaves: ["lin_api_IfdiA6PfKNoO3Ssn"],
    }
    "notion-token" => {
        Anchor::Prefix(&["ntn_", "secret_"]), r"(?:ntn_[0-9]{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43})", 3.0,
        finds: ["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"],
        leaves: ["ntn_07351762676pZCj1r40ib"],
    }
    "figma-token" => {
        Anchor::Prefix(&["figd_"]), r"figd_[A-Za-z0-9_-]{38,44}", 3.0,
        finds: ["figd_SmrYMNLnZGYK6tl7bU7vEPA5RvfTUsTKAdQTfyAu"],
        leaves: ["figd_SmrYMNLnZGYK6tl7b"],
    }
    "buildkite-token" => {
        Anchor::Prefix(&["bkua_"]), r"bkua_[a-z0-9]{40}", 3.0,
        finds: ["bkua_ml2zgaudzysbzroayh52lu5o0omcbuyovr4chaee"],
        leaves: ["bkua_ml2zgaudzysbzroay"],
    }
    "prefect-key" => {
        Anchor::Prefix(&["pnu_"]), r"pnu_[A-Za-z0-9]{36}", 3.0,
        finds: ["pnu_ZSj1xib7XzjNhLBc5BLpwfxBvqhaOFYZJkgD"],
        leaves: ["pnu_ZSj1xib7XzjNhLBc"],
    }
    "onepassword-token" => {
        Anchor::Prefix(&["ops_eyJ"]), r"ops_eyJ[A-Za-z0-9+/]{200,}=*", 3.0,
        finds: ["ops_eyJdslik1Un6xpKZgf1eTRxiiTNBsVEJ8iZwZEsNUGDFoT7yCQOvCvchwT1rpUNzTqr5LUyWvVgYz5X9rDp1Qlo7CEB3sTOdydeys1p1eBGNYSsfobpnNgPsBLBV2LUvEA0tceAh05M3qqwiLA3nlRTCkcBz9VXBmxmeOKBv8qIXPn71B4FyJodDkx0YpE9eDVl7BZJFNZZvdgVRgUipNNqJ0MqVc4NnMrWgncJgbqmD9b4mwqrMd6INxJ9VP"],
        leaves: ["ops_eyJdslik1Un6xpKZgf1eTRxiiTNBsVEJ8iZwZEsNUGDFoT7yCQOvCvchwT1rpUNzTqr5LUyWvVgYz5X9rDp1Qlo7CEB3sTOdydeys1p1eBGNYSsfobpnNgPsBLBV"],
    }
}
