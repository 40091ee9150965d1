// What the words of decisions mean, for people (contract: the closed list).

const REASONS = {
  malformed_request: 'The request is malformed, or could be read in two ways.',
  too_large: 'Its head, target or body is over a limit.',
  no_route: 'No route is configured for this address.',
  method_not_allowed: 'The address has a route, but not for this method.',
  token_missing: 'It carries no token.',
  token_malformed: 'What it carries is no token.',
  unknown_key: 'The token was signed with a key that is not one of ours.',
  bad_signature: 'The token’s signature is wrong.',
  wrong_type: 'The token is of another type or algorithm.',
  wrong_issuer: 'The token comes from another issuer.',
  wrong_audience: 'The token is meant for somebody else.',
  expired: 'The token, or its credential, has expired.',
  not_yet_valid: 'The token is not valid yet.',
  revoked: 'The token, its credential or its secret was revoked.',
  suspended: 'The credential is suspended.',
  insufficient_scope: 'The token lacks the right that this takes.',
  not_armed: 'The right is there, but its role is asleep: arm it for this credential.',
  wrong_account: 'The token is bound to another account.',
  wrong_environment: 'The token does not hold in this environment.',
  rate_limited: 'The credential is over its limit.',
  revocation_stale: 'The gateway can’t tell whether the token was revoked.',
  overloaded: 'Too many requests wait for their upstreams, or for the processor (server.limits).',
};

/** What a reason means; an unknown one stands for itself. */
export const meaning = (reason) => REASONS[reason] ?? reason;
