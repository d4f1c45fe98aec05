//! A recorded run as one file: a page that plays it, the leaves with what proves them, and a signature over all of it.

use std::fmt::Write as _;

use crewgate_audit::{
    Extract, LineKind, Timeline,
    tlog::{Checkpoint, Hash, VerifierKey, verify_note},
};
use crewgate_console::escape;
use crewgate_store::Keys;

const STYLE: &str = include_str!("viewer.css");
const SCRIPT: &str = include_str!("viewer.js");

/// The data block. What is in it holds no `<`, so nothing in it ends it.
const DATA: (&str, &str) = ("<script type=\"application/json\" id=\"extract\">", "</script>");

/// Around the signature, after the last byte it covers.
const SIGNATURE: (&str, &str) = ("<!-- crewgate-signature\n", "-->\n");

/// The first line of what is signed. No log has a name with spaces in it, so it is no checkpoint.
const SIGNED: &str = "crewgate run file v1";

/// The file.
pub(super) fn signed(id: &str, timeline: &Timeline, extract: &Extract, keys: &Keys) -> Option<String> {
    let mut page = page(id, timeline, extract)?;
    let note = keys.sign(&statement(&page));
    let _ = write!(page, "{}{note}{}", SIGNATURE.0, SIGNATURE.1);
    Some(page)
}

/// What a good file says: the leaves in it, and the checkpoint they are proved under.
pub(super) fn verify(file: &str, keys: &[VerifierKey]) -> Result<(Extract, Checkpoint), String> {
    let (page, note) = file.rsplit_once(SIGNATURE.0).ok_or("it is no exported run: it has no signature")?;
    let note = note.strip_suffix(SIGNATURE.1).ok_or("something follows its signature")?;
    let said = verify_note(note, keys).map_err(|error| format!("of its signature: {error}"))?;
    if said != statement(page) {
        return Err("it was changed after it was signed".to_owned());
    }
    let data = page.split_once(DATA.0).and_then(|(_, rest)| rest.split_once(DATA.1)).map(|(data, _)| data);
    let extract: Extract =
        data.and_then(|data| serde_json::from_str(data).ok()).ok_or("there is no record in it")?;
    let checkpoint = extract.verify(keys).map_err(|fault| fault.to_string())?;
    Ok((extract, checkpoint))
}

fn statement(page: &str) -> String {
    format!("{SIGNED}\n{}\n", Hash::of(page.as_bytes()))
}

fn page(id: &str, timeline: &Timeline, extract: &Extract) -> Option<String> {
    let mut rows = String::new();
    for line in timeline.folded() {
        let kind = match line.kind {
            LineKind::Answer => "answer",
            LineKind::Body => "body",
            LineKind::Folded => "folded",
            _ => "note",
        };
        let (micros, seconds) = (line.at.as_micros(), line.at.as_secs_f64());
        let (leaf, text) = (line.leaf, escape(&line.text));
        let _ = writeln!(
            rows,
            "<li class=\"{kind}\" data-at=\"{micros}\"><time>+{seconds:.3}s</time><a>leaf {leaf}</a><code>{text}</code></li>"
        );
    }
    // `<` as JSON may spell it: the text is the same, and no tag begins in it.
    let data = serde_json::to_string(extract).ok()?.replace('<', "\\u003c");
    let (script, style) = (digest(SCRIPT), digest(STYLE));
    let checkpoint = escape(extract.checkpoint());
    let version = env!("CARGO_PKG_VERSION");
    Some(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-{script}'; \
         style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"generator\" content=\"crewgate {version}\">\n\
         <title>Run {id}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Run {id}</h1>\n<button id=\"play\">Play</button> <button id=\"step\">Step</button>\n\
         <label>Speed <select id=\"speed\"><option value=\"1\">×1</option><option value=\"5\">×5</option>\
         <option value=\"50\">×50</option></select></label> <output id=\"now\"></output></header>\n\
         <ol>\n{rows}</ol>\n\
         <details><summary>Proof</summary>\n<p>The record's own words are in this file with what proves them. \
         <code>crewgate runs verify</code> checks it with the record's public key alone; a page cannot vouch for \
         itself.</p>\n<pre>{checkpoint}</pre></details>\n\
         {}{data}{}\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        DATA.0, DATA.1
    ))
}

fn digest(text: &str) -> String {
    Hash::of(text.as_bytes()).to_base64()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use crewgate_audit::{
        AuditStore, Entry, Frame, Lane, Log, MemoryStore, Phase, SealKey,
        tlog::{KeyKind, Signer},
    };
    use crewgate_core::{RequestId, RunId, Timestamp};
    use proptest::prelude::*;

    use super::*;

    const HOSTILE: &str = "</code></script><script>alert(1)</script><!-- crewgate-signature\n\"'&\u{2028}";

    async fn file(answer: &str) -> (String, Vec<VerifierKey>) {
        let store = MemoryStore::new();
        let (run, log) = (RunId::random(), store.keys());
        let mut entry =
            Entry::new(Phase::Outcome, RequestId::random(), Timestamp::from_secs(1)).with_run(Some(run));
        entry.frames = vec![Frame { offset_micros: 5, bytes: Bytes::copy_from_slice(answer.as_bytes()) }];
        store.append(Lane::Outcome, entry).await.unwrap();
        let leaves = store.all();
        let extract = Extract::of(&store, &leaves).await.unwrap();
        let signer = Signer::generate("test/file", KeyKind::Log).unwrap();
        let keys = [vec![signer.verifier().clone()], log].concat();
        let signing = Keys::new(vec![signer], SealKey::generate().unwrap()).unwrap();
        (signed(&run.to_string(), &Timeline::of(&leaves).unwrap(), &extract, &signing).unwrap(), keys)
    }

    #[tokio::test]
    async fn what_was_recorded_is_text_whatever_it_looks_like() {
        let (file, keys) = file(HOSTILE).await;
        verify(&file, &keys).unwrap();
        // Beside what the page itself consists of, no tag begins, and nothing ends a script early.
        assert_eq!(file.matches("<script").count(), 2);
        assert_eq!(file.matches("</script>").count(), 2);
        assert_eq!(file.matches("<!--").count(), 1);
        assert!(!file.contains("alert(1)</script>") && file.contains("&lt;script&gt;alert(1)"));
        for outside in ["http:", "https:", "src=\"", "href", "url(", "@import", "fetch(", "onclick"] {
            assert!(!file.contains(outside), "{outside}");
        }
    }

    #[tokio::test]
    async fn the_policy_of_the_page_allows_its_own_script_and_style_alone() {
        let (file, _) = file("hello").await;
        let policy =
            file.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
        let inline = |tag: &str| {
            let rest = file.split(&format!("<{tag}>")).nth(1).unwrap();
            digest(rest.split(&format!("</{tag}>")).next().unwrap())
        };
        let expected = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            inline("script"),
            inline("style")
        );
        assert_eq!(policy, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_with_one_other_byte_is_none(at in any::<prop::sample::Index>(), with in 32_u8..127) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (file, keys) = runtime.block_on(file("hello"));
            let mut bytes = file.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = with;
            match String::from_utf8(bytes) {
                Ok(changed) if changed != file => prop_assert!(verify(&changed, &keys).is_err()),
                _ => {}
            }
        }
    }
}
