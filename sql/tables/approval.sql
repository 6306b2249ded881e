-- Approvals: what has to be agreed before a deployment goes to a protected environment.
--
-- The policy is part of the environment.

CREATE TYPE hotswap.approval_status AS ENUM
	('pending', 'approved', 'rejected', 'expired', 'void', 'bypassed');
COMMENT ON TYPE hotswap.approval_status IS 'state of an approval; see state_diagram(''approval'')';

CREATE TYPE hotswap.vote_decision AS ENUM ('approve', 'reject');
COMMENT ON TYPE hotswap.vote_decision IS 'what an approver says';

CREATE TYPE hotswap.notification_event AS ENUM
	('requested', 'approved', 'rejected', 'expired', 'bypassed', 'rehearsed', 'reminded', 'frozen', 'node_failed',
	 'ended', 'gate', 'bake', 'pause');
COMMENT ON TYPE hotswap.notification_event IS
'what has happened: the first five to an approval; rehearsed = a rehearsal has succeeded; reminded = half of the time of an approval is over; frozen = windows hold a deployment up; node_failed; ended = the deployment has; gate = a rollout is held up or taken back, or goes on without knowing; bake = a wave bakes; pause = half of the time that a deployment may be paused is over';

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
	decided_by_role regrole,
	steps jsonb,
	roles regrole[],
	reminded_at timestamptz,
	PRIMARY KEY (tenant_id, deployment_id, environment, round)
) WITH (fillfactor = 80);
CREATE INDEX approval_live ON hotswap.approval (tenant_id, environment)
	WHERE status IN ('pending', 'approved', 'bypassed') AND used_at IS NULL;
CREATE INDEX approval_review ON hotswap.approval (tenant_id, environment)
	WHERE status = 'bypassed' AND review_closed_at IS NULL;
COMMENT ON TABLE hotswap.approval IS 'gates of deployments: one for each protected environment on the path, and a new round when one has become void';
COMMENT ON COLUMN hotswap.approval.extra IS 'asked for by the requester: needs a vote even where the environment does not';
COMMENT ON COLUMN hotswap.approval.digest IS 'SHA-256 of what was to be approved: module, version, scripts, target, environment and path';
COMMENT ON COLUMN hotswap.approval.used_at IS 'when the stage started with it; an approval is used once';
COMMENT ON COLUMN hotswap.approval.reminded_at IS 'when those who may vote were told that half of its time is over';
COMMENT ON COLUMN hotswap.approval.decided_by_role IS 'the role that decided_by was, whatever its name is now';
COMMENT ON COLUMN hotswap.approval.steps IS 'the steps that were to be approved: module, direction, version, digest and transactional; NULL: the digest says it all';
COMMENT ON COLUMN hotswap.approval.roles IS 'the roles that scripts were to run as: those of the nodes';
COMMENT ON COLUMN hotswap.approval.review_closed_at IS 'when somebody else has looked at a bypass';
SELECT pg_catalog.pg_extension_config_dump('hotswap.approval', '');

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
	person_role regrole,
	PRIMARY KEY (tenant_id, deployment_id, environment, round, person_key),
	UNIQUE (tenant_id, deployment_id, environment, round, right_key)
);
COMMENT ON TABLE hotswap.approval_vote IS 'votes on approvals; one that is retracted is removed, the audit log has both';
COMMENT ON COLUMN hotswap.approval_vote.person_key IS 'the person in lower case without outer blanks: one vote a person';
COMMENT ON COLUMN hotswap.approval_vote.right_key IS 'whose right to vote was used, in the same form: a right that was lent is used once';
COMMENT ON COLUMN hotswap.approval_vote.role IS 'the role whose membership makes the vote count, looked up again each time votes are counted';
COMMENT ON COLUMN hotswap.approval_vote.delegator IS 'the approver who lent the vote; NULL: none';
COMMENT ON COLUMN hotswap.approval_vote.person_role IS 'the role that the person was, whatever its name is now; NULL: no role has the name';
COMMENT ON COLUMN hotswap.approval_vote.login IS 'who was logged in';
SELECT pg_catalog.pg_extension_config_dump('hotswap.approval_vote', '');

CREATE TABLE hotswap.approval_delegation (
	tenant_id uuid NOT NULL,
	id uuid NOT NULL,
	delegator regrole NOT NULL,
	delegate regrole NOT NULL,
	created_at timestamptz NOT NULL,
	until timestamptz NOT NULL,
	revoked_at timestamptz,
	reason text NOT NULL,
	PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE hotswap.approval_delegation IS 'votes that approvers have lent to other roles';
ALTER TABLE hotswap.approval_delegation ALTER COLUMN id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.approval_delegation', '');

CREATE TABLE hotswap.notification (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	id uuid NOT NULL,
	event hotswap.notification_event NOT NULL,
	at timestamptz NOT NULL,
	delivered_at timestamptz,
	environment text NOT NULL,
	concerns text[] NOT NULL,
	reason text,
	PRIMARY KEY (tenant_id, deployment_id, id)
);
CREATE INDEX notification_outbox ON hotswap.notification (tenant_id, id)
	WHERE delivered_at IS NULL;
COMMENT ON TABLE hotswap.notification IS 'the outbox: written in the transaction of the event';
COMMENT ON COLUMN hotswap.notification.concerns IS 'the roles that may vote, or the person that requested the deployment';
ALTER TABLE hotswap.notification ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.notification', '');

CREATE TABLE hotswap.freeze_override (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	id uuid NOT NULL,
	environment text NOT NULL,
	windows uuid[] NOT NULL,
	reason text NOT NULL,
	ticket text NOT NULL,
	overridden_at timestamptz NOT NULL,
	overridden_by text NOT NULL,
	role regrole,
	until timestamptz NOT NULL,
	used_at timestamptz,
	review_closed_at timestamptz,
	review_closed_by text,
	review_comment text,
	PRIMARY KEY (tenant_id, deployment_id, id)
);
CREATE INDEX override_review ON hotswap.freeze_override (tenant_id, environment) WHERE review_closed_at IS NULL;
COMMENT ON TABLE hotswap.freeze_override IS 'windows that were overridden for one deployment; reviewed like bypasses';
COMMENT ON COLUMN hotswap.freeze_override.windows IS 'those that kept it from starting then: of later ones it is not an override';
COMMENT ON COLUMN hotswap.freeze_override.role IS 'the role that overridden_by was, whatever its name is now';
COMMENT ON COLUMN hotswap.freeze_override.used_at IS 'when the stage started with it; it is used once';
ALTER TABLE hotswap.freeze_override ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.freeze_override', '');
