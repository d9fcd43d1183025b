"""AWS credentials: where keys come from, and the one thread that keeps them fresh.

| module | what it holds |
| --- | --- |
| `keys` | `Keys`, made from what each source answers; errors that hold no secrets |
| `chain` | which source serves: the AWS tools' order |
| `profiles` | the AWS tools' files, and what a profile asks for |
| `sso`, `services` | the exchanges with IAM Identity Center, STS, ECS and EKS containers, and instance metadata |
| `exchange` | one HTTP exchange on the native engine |
| `google` | tokens of Google's, by google-auth |
| `refresher` | the thread: single flight, early refresh, user's providers |

The CRT has providers of its own, which are not used, for these reasons:

- environment: reading three variables needs no provider.
- profile: the CRT's does not know SSO; a `credential_process` it runs without a time limit on the thread that asks.
- STS (web identity and assume role) and SSO: always TLS to amazonaws.com, with no way to name another endpoint, so
  neither a private STS nor a test can be reached; an expired SSO token is not refreshed.
- ECS, EKS, instance metadata: could be pointed elsewhere, but then two ways of speaking HTTP would have to be kept
  alive over fork and exit. They are one or two GETs.

So each is the one or two requests its documentation says, on the engine that carries all other requests, with that
engine's deadlines, fork and exit. `aws login` sessions need a signed proof of possession (DPoP) and are refused with
the way round: `credential_process = aws configure export-credentials --profile NAME`.
"""

from __future__ import annotations

from .refresher import source_for, tokens_from, tokens_of_provider

__all__ = ["source_for", "tokens_from", "tokens_of_provider"]
