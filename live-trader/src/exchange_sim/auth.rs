//! Keys, signatures and timestamps.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Verifier as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::config::ApiKey;
use super::params::Params;
use super::refusal::Refusal;

/// Longest `recvWindow`, milliseconds.
const LONGEST_WINDOW_MS: f64 = 60_000.0;

/// How a request was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    Hmac,
    Ed25519,
}

/// Checks the name of the key.
pub(super) fn check_key(key: &ApiKey, sent: Option<&str>) -> Result<(), Refusal> {
    match sent {
        None | Some("") => Err(Refusal::new(401, -2014, "API-key format invalid.")),
        Some(sent) if sent == key.key => Ok(()),
        Some(_) => Err(Refusal::new(401, -2015, "Invalid API-key, IP, or permissions for action.")),
    }
}

/// Checks that `payload` was signed with the account's key.
pub(super) fn check_signature(key: &ApiKey, payload: &str, params: &Params) -> Result<Signed, Refusal> {
    let signature = params.text("signature")?;
    let ed25519 = key.public_key.as_ref().filter(|public| {
        let bytes = BASE64.decode(signature).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        bytes.is_some_and(|bytes| public.verify(payload.as_bytes(), &Signature::from_bytes(&bytes)).is_ok())
    });
    if ed25519.is_some() {
        return Ok(Signed::Ed25519);
    }
    let sent = decode_hex(signature).unwrap_or_default();
    let mac = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes());
    let is_right = mac.is_ok_and(|mut mac| {
        mac.update(payload.as_bytes());
        mac.verify_slice(&sent).is_ok()
    });
    match is_right {
        true => Ok(Signed::Hmac),
        false => Err(Refusal::bad(-1022, "Signature for this request is not valid.")),
    }
}

/// What a REST request signs: its query and its form as they were sent, without the signature.
pub(super) fn rest_payload(query: &str, form: &str) -> String {
    let bare = |text: &str| {
        let pairs: Vec<&str> =
            text.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("signature=")).collect();
        pairs.join("&")
    };
    bare(query) + &bare(form)
}

/// Checks `timestamp` and `recvWindow` against the server's clock.
pub(super) fn check_time(params: &Params, now_ms: i64) -> Result<(), Refusal> {
    let sent = params.integer("timestamp")?.ok_or_else(|| Refusal::missing("timestamp"))?;
    // Microseconds are welcome too.
    let timestamp_ms = if sent >= 100_000_000_000_000 { sent / 1_000 } else { sent };
    let window_ms = match params.get("recvWindow") {
        None => 5_000.0,
        Some(text) => text.parse::<f64>().map_err(|_| Refusal::not_valid("recvWindow"))?,
    };
    if !(0.0..=LONGEST_WINDOW_MS).contains(&window_ms) {
        return Err(Refusal::bad(-1131, "recvWindow must be less than 60000."));
    }
    if timestamp_ms >= now_ms.saturating_add(1_000) {
        let words = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(Refusal::bad(-1021, words));
    }
    if (now_ms.saturating_sub(timestamp_ms)) as f64 > window_ms {
        return Err(Refusal::bad(-1021, "Timestamp for this request is outside of the recvWindow."));
    }
    Ok(())
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_signature_is_accepted_and_no_other_text() {
        let key = ApiKey {
            secret: "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j".to_owned(),
            ..ApiKey::default()
        };
        let query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC";
        let form = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559&signature=0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77";
        let params = Params::of_query(query, form).unwrap();
        assert_eq!(check_signature(&key, &rest_payload(query, form), &params), Ok(Signed::Hmac));
        let other = rest_payload(&query.replace("LTC", "ETH"), form);
        assert_eq!(check_signature(&key, &other, &params).unwrap_err().code, -1022);
    }

    #[test]
    fn timestamps_have_a_window() {
        let check = |timestamp: i64, window: &str| {
            let query = format!("timestamp={timestamp}{window}");
            check_time(&Params::of_query(&query, "").unwrap(), 1_700_000_000_000).map_err(|r| r.code)
        };
        assert_eq!(check(1_700_000_000_999, ""), Ok(()));
        assert_eq!(check(1_700_000_001_000, ""), Err(-1021));
        assert_eq!(check(1_699_999_995_000, ""), Ok(()));
        assert_eq!(check(1_699_999_994_999, ""), Err(-1021));
        assert_eq!(check(1_699_999_994_999, "&recvWindow=6000.346"), Ok(()));
        assert_eq!(check(1_700_000_000_000, "&recvWindow=60001"), Err(-1131));
        assert_eq!(check(1_700_000_000_000_000, ""), Ok(()));
        assert_eq!(check_time(&Params::default(), 0).unwrap_err().code, -1102);
    }
}
