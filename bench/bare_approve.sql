-- The vote and the decision, as bare rows.
\set n :n + 1
\set number :client_id * :share + :n
WITH vote AS (INSERT INTO bare.vote VALUES (:number, 'approver', now()))
UPDATE bare.job SET status = 'approved', finished_at = now() WHERE id = :number;
