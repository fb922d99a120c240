//! Decimal numbers as whole minor units, digit by digit.
//!
//! Neither binary floating point nor a decimal type of fixed width stands between: what is accepted is exact, and what
//! is not exact is refused, however many digits or zeros it is written with.

use iso_currency::Currency;

/// Most decimal digits that an `i64` can have.
const DIGITS_MAX: usize = 19;

/// Decimals of amounts in a currency that is not known; no accepted order has one.
const DECIMALS_DEFAULT: u32 = 2;

/// Says why a text is not a number of whole units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inexact {
    /// Not a decimal number.
    NotANumber,
    /// Below zero, or written as if it were.
    Negative,
    /// Something is left behind the last decimal.
    TooPrecise,
    /// More than an `i64` can hold.
    TooLarge,
}

/// How many decimals a currency has; `None` if there is no such currency, or none that one can pay with.
pub(super) fn decimals(currency: &str) -> Option<u32> {
    Currency::from_code(currency)?.exponent().map(u32::from)
}

/// Reads a decimal number, times ten to the power of `decimals`, as a whole number.
pub(super) fn scaled(text: &str, decimals: u32) -> Result<i64, Inexact> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, exponent(power)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(Inexact::NotANumber),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(Inexact::NotANumber);
    }
    if negative {
        return Err(Inexact::Negative);
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let zeros = exponent
        .saturating_add(i64::from(decimals))
        .saturating_sub_unsigned(fraction.len() as u64)
        .saturating_add_unsigned(trailing as u64);
    let zeros = usize::try_from(zeros).map_err(|_| Inexact::TooPrecise)?;
    if significant.len().saturating_add(zeros) > DIGITS_MAX {
        return Err(Inexact::TooLarge);
    }
    format!("{significant}{}", "0".repeat(zeros)).parse().map_err(|_| Inexact::TooLarge)
}

/// The power of ten; one that no number can hold stands for the largest or smallest.
fn exponent(text: &str) -> Result<i64, Inexact> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Inexact::NotANumber);
    }
    let beyond = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Ok(text.parse().unwrap_or(beyond))
}

/// Writes minor units in units of the currency: `129999` US cents as `1299.99`.
pub fn decimal(minor: i64, currency: &str) -> String {
    let decimals = decimals(currency).unwrap_or(DECIMALS_DEFAULT);
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}
