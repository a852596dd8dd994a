//! Balances and permissions.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::order::WireError;
use crate::venue::{Account, Balance};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAccount {
    can_trade: bool,
    can_withdraw: bool,
    balances: Vec<WireBalance>,
}

#[derive(Debug, Deserialize)]
struct WireBalance {
    asset: String,
    free: Decimal,
    locked: Decimal,
}

/// The answer to `account`.
pub(crate) fn account(document: Value) -> Result<Account, WireError> {
    let account: WireAccount = serde_json::from_value(document)?;
    let balances = account
        .balances
        .into_iter()
        .filter(|balance| !balance.free.is_zero() || !balance.locked.is_zero())
        .map(|balance| Balance { asset: balance.asset, free: balance.free, locked: balance.locked })
        .collect();
    Ok(Account { balances, can_trade: account.can_trade, can_withdraw: account.can_withdraw })
}

/// The answer to `apiRestrictions`: whether the key may move money out, to another address or another account.
pub(crate) fn key_may_withdraw(document: Value) -> Result<bool, WireError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Restrictions {
        enable_withdrawals: bool,
        #[serde(default)]
        enable_internal_transfer: bool,
        #[serde(default)]
        permits_universal_transfer: bool,
    }
    let key: Restrictions = serde_json::from_value(document)?;
    Ok(key.enable_withdrawals || key.enable_internal_transfer || key.permits_universal_transfer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn balances_of_zero_are_left_out_and_permissions_are_never_guessed() {
        let document = json!({"canTrade": true, "canWithdraw": false, "uid": 1, "balances": [
            {"asset": "BTC", "free": "4723846.89208129", "locked": "0.00000000"},
            {"asset": "LTC", "free": "0.00000000", "locked": "0.00000000"},
            {"asset": "BNB", "free": "0.00000000", "locked": "1.5"}
        ]});
        let read = account(document).unwrap();
        assert_eq!(read.balances.iter().map(|b| b.asset.as_str()).collect::<Vec<_>>(), ["BTC", "BNB"]);
        assert!(read.can_trade && !read.can_withdraw);
        assert!(account(json!({"canTrade": true, "balances": []})).is_err());
        let key = |withdrawals: bool, universal: bool| {
            json!({"ipRestrict": true, "enableReading": true, "enableWithdrawals": withdrawals,
                "permitsUniversalTransfer": universal, "enableSpotAndMarginTrading": true})
        };
        assert!(!key_may_withdraw(key(false, false)).unwrap());
        assert!(key_may_withdraw(key(true, false)).unwrap() && key_may_withdraw(key(false, true)).unwrap());
        assert!(key_may_withdraw(json!({"ipRestrict": true})).is_err());
    }
}
