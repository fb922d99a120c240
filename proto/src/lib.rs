//! The wire: amends.v1 and orders.v1 as generated code.
