"""The realm that makes a stock Keycloak look like Pro Santé Connect (pro-sante-connect.md § 9), for its admin API.

What it has of the real one: realm name, scope `scope_all`, claims, acr, 60 s tokens, tokens bound to the certificate,
CIBA in poll mode. What it has not: `channel` (ignored), and `sub` is a plain UUID.
"""

import json
from typing import Any

from tests.peers.psc_people import Person

REALM = "esante-wallet"
PASSWORD = "une-phrase-de-test"
_PLAIN = (
    "SubjectNameID", "Secteur_Activite", "SubjectOrganization", "SubjectOrganizationID", "Palier_Authentification",
    "UITVersion", "PSI_Locale", "Mode_Acces_Raison", "Acces_Regulation_Medicale",
)  # fmt: skip
_EVERYWHERE = {"access.token.claim": "true", "id.token.claim": "true", "userinfo.token.claim": "true",
               "introspection.token.claim": "true"}  # fmt: skip
_USERINFO = {"access.token.claim": "false", "id.token.claim": "false", "userinfo.token.claim": "true",
             "introspection.token.claim": "false"}  # fmt: skip


def realm(people: list[Person], client_id: str, redirect_uri: str) -> dict[str, Any]:
    return {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "all",
        "accessTokenLifespan": 60,
        "ssoSessionIdleTimeout": 350,
        "ssoSessionMaxLifespan": 14_400,
        "revokeRefreshToken": True,
        "attributes": {
            "cibaBackchannelTokenDeliveryMode": "poll",
            "cibaExpiresIn": "120",
            "cibaInterval": "1",
            "cibaAuthRequestedUserHint": "login_hint",
        },
        "clientScopes": [{"name": "scope_all", "protocol": "openid-connect",
                          "attributes": {"include.in.token.scope": "true"}, "protocolMappers": list(_mappers())}],
        "clients": [_client(client_id, redirect_uri)],
        "users": [_user(one) for one in people],
        "components": {"org.keycloak.userprofile.UserProfileProvider": [_profile()]},
    }  # fmt: skip


def _client(client_id: str, redirect_uri: str) -> dict[str, Any]:
    return {
        "clientId": client_id,
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "clientAuthenticatorType": "client-x509",
        "redirectUris": [redirect_uri],
        "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False,
        "defaultClientScopes": [],
        "optionalClientScopes": ["scope_all"],
        "attributes": {
            "x509.allow.regex.pattern.comparison": "true",
            "x509.subjectdn": "CN=DRIMbox,.*C=FR",
            "tls.client.certificate.bound.access.tokens": "true",
            "pkce.code.challenge.method": "S256",
            "oidc.ciba.grant.enabled": "true",
            "ciba.backchannel.token.delivery.mode": "poll",
            "acr.loa.map": json.dumps({"eidas1": "1"}),
        },
    }


def _mappers() -> Any:
    yield _mapper("sub", "oidc-sub-mapper", _EVERYWHERE)
    yield _mapper("acr", "oidc-acr-mapper", _EVERYWHERE)
    note = {"user.session.note": "AUTH_TIME", "jsonType.label": "long"}
    yield _mapper("auth_time", "oidc-usersessionmodel-note-mapper", note | _EVERYWHERE)
    for claim, attribute in (("preferred_username", "username"), ("given_name", "firstName"),
                             ("family_name", "lastName")):  # fmt: skip
        yield _attribute(claim, "String", _EVERYWHERE, attribute=attribute)
    for claim in _PLAIN:
        yield _attribute(claim, "String", _USERINFO)
    yield _attribute("SubjectRole", "String", _USERINFO | {"multivalued": "true"})
    yield _attribute("SubjectRefPro", "JSON", _USERINFO)


def _attribute(claim: str, kind: str, where: dict[str, str], attribute: str = "") -> dict[str, Any]:
    settings = {"user.attribute": attribute or claim, "jsonType.label": kind}
    return _mapper(claim, "oidc-usermodel-attribute-mapper", settings | where)


def _mapper(claim: str, kind: str, settings: dict[str, str]) -> dict[str, Any]:
    return {"name": claim, "protocol": "openid-connect", "protocolMapper": kind,
            "config": {"claim.name": claim, **settings}}  # fmt: skip


def _user(person: Person) -> dict[str, Any]:
    claims = person.claims()
    attributes: dict[str, list[str]] = {name: [claims[name]] for name in _PLAIN if claims[name]}
    attributes["SubjectRole"] = claims["SubjectRole"]
    attributes["SubjectRefPro"] = [json.dumps(claims["SubjectRefPro"])]
    return {
        "username": person.login,
        "enabled": True,
        "firstName": person.given,
        "lastName": person.family,
        "email": f"{person.login}@exemple.invalid",
        "emailVerified": True,
        "attributes": attributes,
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }


def _profile() -> dict[str, Any]:
    """Attributes of any name, and a longer value than the 2,048 characters that the default takes."""
    attributes = [{"name": name, "permissions": {"view": ["admin", "user"], "edit": ["admin", "user"]}}
                  for name in ("username", "email", "firstName", "lastName")]  # fmt: skip
    attributes.append({"name": "SubjectRefPro", "permissions": {"view": ["admin"], "edit": ["admin"]},
                       "validations": {"length": {"max": 100_000}}})  # fmt: skip
    settings = {"attributes": attributes, "unmanagedAttributePolicy": "ENABLED"}
    return {"providerId": "declarative-user-profile", "config": {"kc.user.profile.config": [json.dumps(settings)]}}
