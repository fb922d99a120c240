//! Money as the participants see it: whole minor units of an ISO 4217 currency.

use amends_sdk::StepError;
use iso_currency::Currency;

/// The currency of an order that names none.
const DEFAULT_CURRENCY: &str = "USD";

/// For `#[serde(default)]`.
pub(crate) fn default_currency() -> String {
    DEFAULT_CURRENCY.to_owned()
}

/// Refuses what is not an amount: below zero, or of no currency that has a minor unit.
pub(crate) fn check(minor: i64, currency: &str) -> Result<(), StepError> {
    if minor < 0 {
        return Err(StepError::refused("INVALID_AMOUNT", format!("the amount {minor} is below zero")));
    }
    match digits(currency) {
        Some(_) => Ok(()),
        None => Err(StepError::refused("UNKNOWN_CURRENCY", format!("{currency:?} is not a currency of ISO 4217"))),
    }
}

/// How many decimals the currency has; `None` for what is not a currency that can be paid in.
fn digits(currency: &str) -> Option<usize> {
    Currency::from_code(currency)?.exponent().map(usize::from)
}

/// Writes minor units as a decimal number of the currency: `129999` USD is `1299.99`, `1300` JPY is `1300`.
pub(crate) fn decimal(minor: i64, currency: &str) -> String {
    let digits = digits(currency).unwrap_or(0);
    let sign = if minor < 0 { "-" } else { "" };
    let all = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
    let (units, fraction) = all.split_at(all.len() - digits);
    if fraction.is_empty() { format!("{sign}{units}") } else { format!("{sign}{units}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_currency_shows_its_own_decimals() {
        for (minor, currency, text) in [
            (129_999, "USD", "1299.99"),
            (5, "EUR", "0.05"),
            (0, "USD", "0.00"),
            (1300, "JPY", "1300"),
            (1234, "KWD", "1.234"),
            (-7, "USD", "-0.07"),
            (i64::MIN, "USD", "-92233720368547758.08"),
        ] {
            assert_eq!(decimal(minor, currency), text);
        }
    }

    #[test]
    fn what_cannot_be_paid_in_is_refused() {
        assert!(check(1, "USD").is_ok());
        for (minor, currency) in [(-1, "USD"), (1, "usd"), (1, "XYZ"), (1, "XXX"), (1, "")] {
            assert!(check(minor, currency).is_err(), "{minor} {currency}");
        }
    }
}
