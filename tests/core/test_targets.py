"""Where webhooks may be sent: every way we know of writing an inner address, and what is allowed."""

from __future__ import annotations

import ipaddress

import pytest

from orch.core.targets import Target, is_public, is_rule, may_connect, refusal, target_of

CLOSED = (
    # IPv4, plainly
    "https://127.0.0.1/", "https://127.1.2.3/", "https://0.0.0.0/", "https://0.1.2.3/", "https://10.0.0.1/",
    "https://172.16.0.1/", "https://172.31.255.254/", "https://192.168.1.1/", "https://169.254.169.254/latest/",
    "https://169.254.0.1/", "https://100.64.0.1/", "https://192.0.0.1/", "https://192.0.2.1/",
    "https://198.18.0.1/", "https://198.51.100.7/", "https://203.0.113.7/", "https://224.0.0.1/",
    "https://240.0.0.1/", "https://255.255.255.255/", "https://192.88.99.1/",
    # IPv4, as some resolvers read it
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
    "https://017700000001/", "https://127.1/", "https://127.0.1/", "https://0/", "https://010.0.0.1/",
    "https://127.0.0.1./", "https://192.168.257/", "https://0x/", "https://256.1.1.1/", "https://1.2.3.4.5/",
    # IPv6
    "https://[::1]/", "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[fe80::1]/", "https://[fc00::1]/",
    "https://[fd12:3456::1]/", "https://[ff02::1]/", "https://[fec0::1]/", "https://[2001:db8::1]/",
    "https://[100::1]/", "https://[5f00::1]/", "https://[3fff::1]/", "https://[fd00:ec2::254]/",
    # IPv4 inside IPv6: mapped, compatible, 6to4, NAT64, Teredo
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:169.254.169.254]/",
    "https://[::127.0.0.1]/", "https://[::a00:1]/", "https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::10.0.0.1]/", "https://[64:ff9b:1::a00:1]/",
    "https://[2001:0:7f00:1::]/",
    # names
    "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://printer.local/",
    "https://a.localhost/", "https://metadata.google.internal/", "https://redis/", "https://db.lan/",
    "https://router.home.arpa/", "https://x.onion/", "https://wiki.corp/",
    # URLs that two readers read in two ways
    "https://user@example.com/", "https://example.com@127.0.0.1/", "https://example.com:x@127.0.0.1/",
    "https://example.com\\@127.0.0.1/", "https://example.com#@127.0.0.1/", "https://127.0.0.1#example.com/",
    "https://example.com /", "https://exa\tmple.com/", "https://example.com\n/", "https:///example.com/",
    "https:example.com/", "//example.com/", "https://[::1", "https://[fe80::1%25eth0]/", "https://[v1.x]/",
    "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", "https://\uff11\uff12\uff17.0.0.1/",
    "https://%6c%6f/", "https://example..com/", "https://-a.com/",
    "https://a.com:/", "https://a.com:0/", "https://a.com:65536/", "https://a.com:443:443/", "https://", "",
    # schemes and ports
    "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
    "https://example.com:22/", "https://example.com:25/", "https://example.com:80/", "https://8.8.8.8:53/",
)  # fmt: skip
OPEN = (
    "https://example.com/", "https://example.com", "https://EXAMPLE.com/hook?x=1&y=%20", "https://a-b.example.co.uk/",
    "https://example.com:443/", "https://example.com:8443/x", "https://example.com:3000/", "https://8.8.8.8/",
    "https://[2606:4700::1111]/", "https://[::ffff:8.8.8.8]/", "https://xn--bcher-kva.example/", "https://example.com./",
    "https://localhost.example.com/", "https://127.0.0.1.example.com/", "https://my_host.example.com/",
)  # fmt: skip


def why_not(url: str, *allowed: str) -> str | None:
    target = target_of(url)
    return target if isinstance(target, str) else refusal(target, allowed)


def target(url: str) -> Target:
    found = target_of(url)
    assert isinstance(found, Target), found
    return found


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("url", CLOSED)
def test_nothing_is_sent_to_what_is_not_plainly_public_https(url: str) -> None:
    assert why_not(url) is not None


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("url", OPEN)
def test_public_https_is_taken(url: str) -> None:
    assert why_not(url) is None


def test_the_table_is_long_enough_to_be_believed() -> None:
    assert len(CLOSED) == len(set(CLOSED)) >= 60


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.1.1", "169.254.169.254", "0.0.0.0", "::1", "::", "fe80::1", "fd00::1", "ff02::1",
        "::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2001::1", "100.100.100.200",
        "192.0.0.192", "255.255.255.255", "2001:db8::1",
    ],
)  # fmt: skip
def test_a_public_name_that_resolves_to_an_inner_address_is_not_connected_to(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert not may_connect(
        target("https://example.com/"), ipaddress.ip_address(address), ("192.168.0.0/16",)
    )


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_a_public_address_is_connected_to(address: str) -> None:
    assert may_connect(target("https://example.com/"), ipaddress.ip_address(address), ())


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8080/", "127.0.0.1"),
        ("http://127.0.0.1:8080/", "127.0.0.0/8"),
        ("http://[::1]:9/", "::1"),
        ("http://localhost/", "localhost"),
        ("http://LocalHost./", "LOCALHOST"),
        ("http://hooks.prod.svc/", "*.svc"),
        ("http://n8n:5678/x", "n8n"),
        ("https://10.1.2.3/", "10.0.0.0/8"),
        ("https://[::ffff:10.1.2.3]/", "10.0.0.0/8"),
    ],
)
def test_what_an_operator_allows_is_open_for_plain_http_too(url: str, allowed: str) -> None:
    assert why_not(url) is not None
    assert why_not(url, allowed) is None


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://evilsvc/", "*.svc"),
        ("http://svc/", "*.svc"),
        ("http://10.1.2.3/", "10.0.0.0/16"),
        ("http://8.8.8.8/", "10.0.0.0/8"),
        ("https://user@10.1.2.3/", "10.0.0.0/8"),
        ("https://2130706433/", "127.0.0.0/8"),
    ],
)
def test_what_is_allowed_opens_nothing_beside_it(url: str, allowed: str) -> None:
    assert why_not(url, allowed) is not None


@pytest.mark.req("EVT-4")
def test_a_network_decides_over_names_only_when_their_addresses_are_known() -> None:
    inner = target("http://n8n:5678/")
    assert refusal(inner, ("10.0.0.0/8",)) is None
    assert may_connect(inner, ipaddress.ip_address("10.0.0.9"), ("10.0.0.0/8",))
    assert not may_connect(inner, ipaddress.ip_address("8.8.8.8"), ("10.0.0.0/8",)), "plain http"
    assert not may_connect(inner, ipaddress.ip_address("127.0.0.1"), ("10.0.0.0/8",))


@pytest.mark.parametrize(
    "rule", ["a.example", "*.svc.cluster.local", "10.0.0.0/8", "::1", "localhost"]
)
def test_a_rule_is_a_name_a_pattern_an_address_or_a_network(rule: str) -> None:
    assert is_rule(rule)


@pytest.mark.parametrize(
    "rule", ["", "*", "*.", "a*b", "http://a", "10.0.0.1/8", "a b", "a/8", "*.*.a"]
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    assert not is_rule(rule)
