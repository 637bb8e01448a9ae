"""SEC filings: what each form is about, and which forms of one day make one story."""

from dataclasses import dataclass

from bionewsbot.backend.analysis.model import NEGATIVE, NEUTRAL, Signal


@dataclass(frozen=True)
class FormRule:
    """What a form is about. Forms with the same `story` are one story per company and day."""

    type: str
    story: str
    what: str
    signal: Signal


_LOW = Signal(NEUTRAL, "low")
_MEDIUM = Signal(NEUTRAL, "medium")
_HIGH = Signal(NEUTRAL, "high")

# What the form does not say (an 8-K's subject, whether an insider bought or sold) has no polarity.
_INSIDERS = FormRule("ownership", "insiders", "reports of insiders' holdings", _LOW)
_INSIDER_SALE = FormRule(
    "ownership", "insider-sales", "notices of insiders' planned sales", Signal(NEGATIVE, "low")
)
_PASSIVE_STAKE = FormRule("ownership", "stakes", "reports of stakes above 5%", _LOW)
_ACTIVE_STAKE = FormRule("ownership", "active-stakes", "stakes above 5% with intent", _MEDIUM)
_OFFERING = FormRule(
    "financing", "offering", "securities on sale to the public", Signal(NEGATIVE, "medium")
)
_SHELF = FormRule(
    "financing", "shelf", "registration of securities for later sale", Signal(NEGATIVE, "low")
)
_REGISTRATION = FormRule("financing", "registration", "upkeep of registered securities", _LOW)
_PRIVATE_SALE = FormRule("financing", "private-sale", "securities sold privately", _LOW)
_EMPLOYEES = FormRule("financing", "employee-plan", "shares for employees", _LOW)
_MERGER = FormRule("merger", "merger", "papers of a merger or tender offer", _HIGH)
_DELISTING = FormRule("listing", "delisting", "end of the stock exchange listing", _HIGH)
_EVENT = FormRule("material_event", "event", "report of a material event", _MEDIUM)
_FOREIGN = FormRule("material_event", "foreign-report", "report of a foreign company", _LOW)
_PERIODIC = FormRule("periodic_report", "periodic", "periodic report", _MEDIUM)
_TO_HOLDERS = FormRule("periodic_report", "annual-to-holders", "annual report to holders", _LOW)
_LATE = FormRule(
    "periodic_report", "late", "notice of a late periodic report", Signal(NEGATIVE, "high")
)
_PROXY = FormRule("governance", "proxy", "papers for a vote of the shareholders", _LOW)
_OTHER = FormRule("other_filing", "other", "other filing", _LOW)

_FORMS = {
    _INSIDERS: ("3", "4", "5"),
    _INSIDER_SALE: ("144",),
    _PASSIVE_STAKE: ("SCHEDULE 13G", "SC 13G"),
    _ACTIVE_STAKE: ("SCHEDULE 13D", "SC 13D"),
    _OFFERING: ("424B1", "424B2", "424B3", "424B4", "424B5", "424B7", "S-1", "F-1"),
    _SHELF: ("S-3", "S-3ASR", "S-3MEF", "F-3", "F-3ASR"),
    _REGISTRATION: ("EFFECT", "POS AM", "RW", "AW"),
    _PRIVATE_SALE: ("D",),
    _EMPLOYEES: ("S-8", "S-8 POS"),
    _MERGER: (
        "SC TO-T",
        "SC TO-C",
        "SC TO-I",
        "SC 14D9",
        "SC14D9C",
        "SC 13E3",
        "PREM14A",
        "PREM14C",
        "DEFM14A",
        "DEFM14C",
        "S-4",
        "F-4",
        "425",
    ),
    _DELISTING: ("25", "25-NSE"),
    _EVENT: ("8-K",),
    _FOREIGN: ("6-K",),
    _PERIODIC: ("10-K", "10-Q", "20-F", "40-F"),
    _TO_HOLDERS: ("ARS",),
    _LATE: ("NT 10-K", "NT 10-Q", "NT 20-F"),
    _PROXY: ("PRE 14A", "PRER14A", "DEF 14A", "DEFA14A", "PRE 14C", "DEF 14C"),
}

_RULES = {form: rule for rule, forms in _FORMS.items() for form in forms}

AMENDMENT = "/A"


def rule_of(form: str) -> FormRule:
    """Return the rule of a form; an amendment has the rule of the form that it amends."""
    return _RULES.get(form.removesuffix(AMENDMENT), _OTHER)


def signal_of(form: str) -> Signal:
    """Return what a form signals: an amendment always little, because it repeats known news."""
    signal = rule_of(form).signal
    return Signal(signal.polarity, "low") if form.endswith(AMENDMENT) else signal
