-- Approvals: what has to be agreed before a deployment goes to a protected environment.
--
-- The policy is part of the environment. No foreign keys, as in deployment.sql.

CREATE TYPE hotswap.approval_status AS ENUM
	('pending', 'approved', 'rejected', 'expired', 'void', 'bypassed');
COMMENT ON TYPE hotswap.approval_status IS 'state of an approval; see state_diagram(''approval'')';

CREATE TABLE hotswap.approval (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	environment text NOT NULL,
	round integer NOT NULL,
	status hotswap.approval_status NOT NULL,
	extra boolean NOT NULL,
	opened_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	decided_at timestamptz,
	used_at timestamptz,
	digest bytea NOT NULL CHECK (pg_catalog.length(digest) = 32),
	decided_by text,
	reason text,
	ticket text,
	review_closed_at timestamptz,
	review_closed_by text,
	review_comment text,
	PRIMARY KEY (tenant_id, deployment_id, environment, round)
) WITH (fillfactor = 80);
CREATE INDEX approval_pending ON hotswap.approval (tenant_id, environment)
	WHERE status = 'pending';
CREATE INDEX approval_review ON hotswap.approval (tenant_id, environment)
	WHERE status = 'bypassed' AND review_closed_at IS NULL;
COMMENT ON TABLE hotswap.approval IS 'gates of deployments: one for each protected environment on the path, and a new round when one has become void';
COMMENT ON COLUMN hotswap.approval.extra IS 'asked for by the requester: needs a vote even where the environment does not';
COMMENT ON COLUMN hotswap.approval.digest IS 'SHA-256 of what was to be approved: module, version, scripts, target, environment and path';
COMMENT ON COLUMN hotswap.approval.used_at IS 'when the stage started with it; an approval is used once';
COMMENT ON COLUMN hotswap.approval.review_closed_at IS 'when somebody else has looked at a bypass';

CREATE TYPE hotswap.vote_decision AS ENUM ('approve', 'reject');
COMMENT ON TYPE hotswap.vote_decision IS 'what an approver says';

CREATE TABLE hotswap.approval_vote (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	environment text NOT NULL,
	round integer NOT NULL,
	person_key text NOT NULL,
	right_key text NOT NULL,
	decision hotswap.vote_decision NOT NULL,
	at timestamptz NOT NULL,
	role regrole NOT NULL,
	delegator regrole,
	login name NOT NULL,
	person text NOT NULL,
	comment text,
	PRIMARY KEY (tenant_id, deployment_id, environment, round, person_key),
	UNIQUE (tenant_id, deployment_id, environment, round, right_key)
);
COMMENT ON TABLE hotswap.approval_vote IS 'votes on approvals; one that is retracted is removed, the audit log has both';
COMMENT ON COLUMN hotswap.approval_vote.person_key IS 'the person in lower case without outer blanks: one vote a person';
COMMENT ON COLUMN hotswap.approval_vote.right_key IS 'whose right to vote was used, in the same form: a right that was lent is used once';
COMMENT ON COLUMN hotswap.approval_vote.role IS 'the role whose membership makes the vote count, looked up again each time votes are counted';
COMMENT ON COLUMN hotswap.approval_vote.delegator IS 'the approver who lent the vote; NULL: none';
COMMENT ON COLUMN hotswap.approval_vote.login IS 'who was logged in';

CREATE TABLE hotswap.approval_delegation (
	tenant_id uuid NOT NULL REFERENCES hotswap.tenant,
	id uuid NOT NULL,
	delegator regrole NOT NULL,
	delegate regrole NOT NULL,
	created_at timestamptz NOT NULL,
	until timestamptz NOT NULL,
	revoked_at timestamptz,
	reason text NOT NULL,
	PRIMARY KEY (tenant_id, id)
);
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON hotswap.approval_delegation
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.approval_delegation IS 'a vote that is lent lets the role see the tenant';
COMMENT ON TABLE hotswap.approval_delegation IS 'votes that approvers have lent to other roles';

CREATE FUNCTION hotswap.set_approval_policy(environment text, min_approvals integer,
		approvers regrole[] DEFAULT NULL, expires_after interval DEFAULT '24 h',
		allow_self_approval boolean DEFAULT false, require_comment boolean DEFAULT false,
		max_open_reviews integer DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_approval_policy';
COMMENT ON FUNCTION hotswap.set_approval_policy(text, integer, regrole[], interval, boolean, boolean, integer, uuid) IS
'Says who has to agree before a deployment goes to an environment. min_approvals: distinct persons, 1 to 20, or 0 for an open environment; approvers: at most 100 roles whose members may vote (NULL: those with the capability approver); expires_after: how long an approval stays open, one second to a year; allow_self_approval: may the requester vote; require_comment: must each vote say why; max_open_reviews: how many bypasses may await their review before further ones are refused, 0 to 1000 (NULL: any number). Votes that were cast are counted again, and approvals that now have enough are approved. Only for those who have admin. Errors: 22023 bad argument, P0002 no such environment, role or tenant, 42501 not allowed, YH003 tenant not active. Locks the tenant row, the environment and the deployments with a pending approval for it; audited with before and after.';

CREATE FUNCTION hotswap.approve(deployment uuid, environment text DEFAULT NULL, comment text DEFAULT NULL,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_approve';
COMMENT ON FUNCTION hotswap.approve(uuid, text, text, text) IS
'Votes for a deployment going to an environment, and returns the status of the approval: approved when this vote was the last that was missing. environment: NULL for the one that is next on the path; comment: 1 to 10,000 characters, NULL for none unless the policy requires one; on_behalf_of: the person for whom the caller speaks, 1 to 200 characters, only with the capability impersonator. The person is the login role, or on_behalf_of; each has one vote. Errors: 22023 bad argument or no comment, P0002 no such deployment or approval, 42501 no right to vote or own deployment, 23505 has voted already, 55000 not pending or overdue. Locks the deployment; audited.';

CREATE FUNCTION hotswap.reject(deployment uuid, environment text DEFAULT NULL, comment text DEFAULT NULL,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_reject';
COMMENT ON FUNCTION hotswap.reject(uuid, text, text, text) IS
'Votes against a deployment going to an environment, which ends it: it is rejected at once, or, while one of its earlier stages runs, when that has ended. comment: 1 to 10,000 characters, required. The other arguments, rights and errors are those of approve(). Locks the deployment; audited.';

CREATE FUNCTION hotswap.retract_vote(deployment uuid, environment text DEFAULT NULL, comment text DEFAULT NULL,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_retract_vote';
COMMENT ON FUNCTION hotswap.retract_vote(uuid, text, text, text) IS
'Takes the person''s vote back and returns the status of the approval. As long as the stage has not started, an approval that loses its quorum thereby becomes void and a new one is opened. Arguments as of approve(). Errors: 22023 bad argument, P0002 no such deployment, approval or vote, 42501 on_behalf_of not allowed, 55000 decided otherwise, used or overdue. Locks the deployment; audited.';

CREATE FUNCTION hotswap.bypass_approval(deployment uuid, environment text, reason text, ticket text,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_bypass_approval';
COMMENT ON FUNCTION hotswap.bypass_approval(uuid, text, text, text, text) IS
'Breaks the glass: lets a deployment go to an environment without the votes that are missing. The view bypass_reviews lists it until somebody else has called close_bypass_review(). reason: 1 to 10,000 characters; ticket: 1 to 200 characters. Only with the capability break_glass. Errors: 22023 bad argument, P0002 no such deployment or approval, 42501 not allowed, 53400 as many bypasses of the environment await their review as its policy allows, 55000 not pending or overdue. Locks the environment and the deployment; audited as approval.bypass.';

CREATE FUNCTION hotswap.close_bypass_review(deployment uuid, environment text, comment text,
		on_behalf_of text DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_close_bypass_review';
COMMENT ON FUNCTION hotswap.close_bypass_review(uuid, text, text, text) IS
'Records that somebody has looked at a bypass. comment: 1 to 10,000 characters. For those who may vote in the environment and those with admin, but not for the person who bypassed. Errors: 22023 bad argument, P0002 no such deployment or open review, 42501 not allowed. Locks the deployment; audited.';

CREATE FUNCTION hotswap.delegate_approval(delegate regrole, until timestamptz, reason text,
		tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_delegate_approval';
COMMENT ON FUNCTION hotswap.delegate_approval(regrole, timestamptz, text, uuid) IS
'Lends the right to vote of the login role to another role and its members, and returns the id of the delegation. A right is used once for each approval, by whoever comes first; a vote that was lent is never one about the delegator''s or the delegate''s own deployment, and cannot be lent on. until: in the future, at most a year; reason: 1 to 10,000 characters. Errors: 22023 bad argument, P0002 no such role or tenant, 42501 the caller may not vote in any environment, YH003 tenant not active. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.revoke_delegation(delegation uuid, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_revoke_delegation';
COMMENT ON FUNCTION hotswap.revoke_delegation(uuid, uuid) IS
'Ends a delegation early; votes that were cast with it still count. For the delegator and those with admin. Errors: 22023 NULL, P0002 no such delegation in force, 42501 not allowed, YH003 tenant not active. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.wait_for_approval(deployment uuid, environment text DEFAULT NULL,
		timeout interval DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_wait_for_approval';
COMMENT ON FUNCTION hotswap.wait_for_approval(uuid, text, interval) IS
'Blocks, without polling, until an approval of a deployment has been decided, and returns its status; at the timeout it returns the current one. environment: NULL for the one that is next on the path, or if none is pending, the last one. timeout: NULL waits without limit, zero does not wait. Errors: 22023 bad argument, P0002 no such deployment or approval, and those of wait(). Locks nothing.';

CREATE FUNCTION hotswap.approval_state(tenant uuid, deployment uuid, environment text, round integer,
		OUT counted integer, OUT missing integer, OUT may_vote text[])
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_approval_state';
COMMENT ON FUNCTION hotswap.approval_state(uuid, uuid, text, integer) IS
'For the view approvals: how many votes count now, how many are missing, and which login roles may still vote (none when it is decided).';

CREATE VIEW hotswap.approvals WITH (security_barrier) AS
SELECT a.tenant_id, a.deployment_id, d.module, d.version, a.environment, a.round, a.status, s.counted,
	s.missing, s.may_vote,
	ARRAY(SELECT v.person || CASE v.decision WHEN 'reject' THEN ' (reject)' ELSE '' END
		FROM hotswap.approval_vote v
		WHERE v.tenant_id = a.tenant_id AND v.deployment_id = a.deployment_id
		AND v.environment = a.environment AND v.round = a.round ORDER BY v.at) AS voters,
	d.requested_by, a.opened_at, a.expires_at,
	CASE a.status WHEN 'pending' THEN greatest(a.expires_at - pg_catalog.now(), '0'::interval) END AS time_left,
	a.decided_at, a.decided_by, a.reason, a.used_at
FROM hotswap.visible_tenants() t (tenant_id)
	JOIN hotswap.approval a ON a.tenant_id = t.tenant_id
	JOIN hotswap.deployment d ON d.tenant_id = a.tenant_id AND d.id = a.deployment_id
	LEFT JOIN LATERAL (SELECT * FROM hotswap.approval_state(a.tenant_id, a.deployment_id, a.environment, a.round)
		WHERE a.status = 'pending') s ON true;
COMMENT ON VIEW hotswap.approvals IS 'approvals: their votes, what is missing, who may still vote, and how much time is left';

CREATE VIEW hotswap.bypass_reviews WITH (security_barrier) AS
SELECT a.tenant_id, a.deployment_id, d.module, d.version, a.environment, a.decided_at AS bypassed_at,
	a.decided_by AS bypassed_by, a.reason, a.ticket, d.status
FROM hotswap.visible_tenants() t (tenant_id)
	JOIN hotswap.approval a ON a.tenant_id = t.tenant_id
	JOIN hotswap.deployment d ON d.tenant_id = a.tenant_id AND d.id = a.deployment_id
WHERE a.status = 'bypassed' AND a.review_closed_at IS NULL;
COMMENT ON VIEW hotswap.bypass_reviews IS 'bypasses that nobody else has looked at yet; see close_bypass_review()';

CREATE VIEW hotswap.delegations WITH (security_barrier) AS
SELECT g.tenant_id, g.id, g.delegator, g.delegate, g.created_at, g.until, g.revoked_at, g.reason,
	g.revoked_at IS NULL AND g.until > pg_catalog.now() AS in_force
FROM hotswap.visible_tenants() t (tenant_id)
	JOIN hotswap.approval_delegation g ON g.tenant_id = t.tenant_id;
COMMENT ON VIEW hotswap.delegations IS 'votes that approvers have lent to others';
