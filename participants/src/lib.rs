//! The built-in participants: order, payment, inventory, notification.
