//! Orders, one a line.

use amends_proto::orders::v1::Order;

use super::table::Table;
use super::tone::Tone;
use super::{View, format, status};

/// Draws orders.
pub(crate) fn render(view: &View, orders: &[Order]) -> String {
    let has_reason = orders.iter().any(|order| !order.reason_code.is_empty() || !order.reason.is_empty());
    let mut header = vec!["ORDER", "STATUS", "TOTAL", "SAGA", "SAGA STATUS"];
    if view.wide {
        header.extend(["USER", "PAYMENT METHOD", "CREATED"]);
    }
    if has_reason {
        header.push("REASON");
    }
    let mut table = Table::new(view, &header);
    for order in orders {
        let (saga_status, saga_tone) = status::of_word(&order.saga_status);
        let mut row = vec![
            Tone::Strong.cell(format::clean(&order.order_id)),
            tone(&order.status).cell(format::clean(&order.status)),
            Tone::Plain.cell(total(order)),
            Tone::Plain.cell(view.id(&order.saga_id)),
            saga_tone.cell(saga_status),
        ];
        if view.wide {
            row.push(Tone::Plain.cell(format::clean(&order.user_id)));
            row.push(Tone::Plain.cell(format::clean(&order.payment_method)));
            row.push(Tone::Faint.cell(format::time(view, order.create_time.as_ref())));
        }
        if has_reason {
            row.push(Tone::Bad.cell(format::error(&order.reason_code, &order.reason)));
        }
        table.row(row);
    }
    table.render()
}

/// An order on a line of its own, for following.
pub(crate) fn line(view: &View, order: &Order) -> String {
    let (saga_status, saga_tone) = status::of_word(&order.saga_status);
    let line = format!(
        "{}  {}  {}  {}",
        Tone::Faint.paint(view.now.with_timezone(&view.zone).format("%H:%M:%S%.3f")),
        tone(&order.status).paint(format!("{:<9}", format::clean(&order.status))),
        saga_tone.paint(format!("{saga_status:<14}")),
        Tone::Bad.paint(format::error(&order.reason_code, &order.reason)),
    );
    line.trim_end().to_owned() + "\n"
}

fn total(order: &Order) -> String {
    format::clean(format!("{} {}", order.total, order.currency).trim())
}

fn tone(status: &str) -> Tone {
    match status {
        "confirmed" => Tone::Good,
        "cancelled" => Tone::Undone,
        _ => Tone::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn order(status: &str, saga_status: &str) -> Order {
        Order {
            order_id: "ord_7f3a".to_owned(),
            saga_id: samples::compensated().id,
            status: status.to_owned(),
            saga_status: saga_status.to_owned(),
            currency: "USD".to_owned(),
            total: "1299.99".to_owned(),
            ..Order::default()
        }
    }

    fn plain(orders: &[Order]) -> String {
        anstream::adapter::strip_str(&render(&samples::view(), orders)).to_string()
    }

    #[test]
    fn an_order_is_a_line() {
        let expected = "\
ORDER     STATUS     TOTAL        SAGA      SAGA STATUS
ord_7f3a  confirmed  1299.99 USD  3f2a91bc  ✓ completed
";
        assert_eq!(plain(&[order("confirmed", "completed")]), expected);
    }

    #[test]
    fn a_cancelled_order_has_its_reason() {
        let cancelled = Order {
            reason_code: "OUT_OF_STOCK".to_owned(),
            reason: "0 of LAPTOP001 left".to_owned(),
            ..order("cancelled", "compensated")
        };
        let expected = "\
ORDER     STATUS     TOTAL        SAGA      SAGA STATUS     REASON
ord_7f3a  cancelled  1299.99 USD  3f2a91bc  ↩✓ compensated  OUT_OF_STOCK: 0 of LAPTOP001 left
";
        assert_eq!(plain(&[cancelled]), expected);
    }
}
