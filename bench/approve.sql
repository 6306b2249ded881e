-- Somebody else approves one after the other; each client has a share of them.
\set n :n + 1
\set number :client_id * :share + :n
SELECT hotswap.approve(id, on_behalf_of => 'approver') FROM bare.pending WHERE n = :number;
