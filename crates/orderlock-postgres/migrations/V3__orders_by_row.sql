-- The lists' index is of use to nobody else. Without this condition, which every order meets, a server that has not
-- analyzed the table yet looks one order up in it by walking through all orders of the tenant, because that seems as cheap
-- as the primary key; and a plan that a node made then stays until the table is analyzed.
DROP INDEX orders_by_row;
CREATE UNIQUE INDEX orders_by_row ON orders (tenant, row) WHERE row > 0;
