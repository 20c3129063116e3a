#!/bin/sh
# The shop's tables, and a role that may read changes and nothing else. Runs once, when the database is created.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$DEBEZIUM_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE TABLE customers (
    customer_id bigint PRIMARY KEY,
    email       text NOT NULL,
    full_name   text,
    address     text,
    city        text,
    country     text NOT NULL,
    tier        text,
    created_at  timestamptz DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
    product_id bigint PRIMARY KEY,
    sku        text NOT NULL,
    name       text NOT NULL,
    category   text,
    price      numeric(12, 2) NOT NULL,
    currency   text NOT NULL,
    updated_at timestamptz DEFAULT now()
);
CREATE TABLE orders (
    order_id    bigint PRIMARY KEY,
    customer_id bigint NOT NULL,
    product_id  bigint NOT NULL,
    quantity    integer NOT NULL,
    amount      numeric(18, 2) NOT NULL,
    currency    text NOT NULL,
    status      text NOT NULL,
    order_ts    timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz DEFAULT now()
);
-- The row as it was comes with its update and delete: an order that moves to another customer refreshes both.
ALTER TABLE customers REPLICA IDENTITY FULL;
ALTER TABLE products REPLICA IDENTITY FULL;
ALTER TABLE orders REPLICA IDENTITY FULL;

CREATE ROLE debezium LOGIN REPLICATION PASSWORD :'password';
GRANT SELECT ON customers, products, orders TO debezium;
CREATE PUBLICATION sluice_shop FOR TABLE customers, products, orders;

INSERT INTO customers (customer_id, email, full_name, address, city, country, tier) VALUES
    (1, 'ada@example.com', 'Ada Lovelace', '1 St James Square', 'London', 'GB', 'gold'),
    (2, 'grace@example.com', 'Grace Hopper', '7 Harbor Road', 'New York', 'US', 'silver');
INSERT INTO products (product_id, sku, name, category, price, currency) VALUES
    (1, 'TEA-1', 'Tea', 'drinks', 4.50, 'GBP'),
    (2, 'PEN-1', 'Fountain pen', 'writing', 39.00, 'USD');
INSERT INTO orders (order_id, customer_id, product_id, quantity, amount, currency, status) VALUES
    (1, 1, 1, 2, 9.00, 'GBP', 'paid'),
    (2, 2, 2, 1, 39.00, 'USD', 'new');
SQL
