"""The shop's own words in its three languages. What it teaches, and its lab, are in English.

It knows no HTML: everything here is text, and escaped where it is put into a page.
"""

from __future__ import annotations

from typing import Final

LOCALES: Final = {"en": "English", "de": "Deutsch", "fr": "Français"}
DEFAULT_LOCALE: Final = "en"

PRICES_CENTS: Final = {"wax": 650, "envelopes": 400, "paper": 900, "pen": 2400}

_TEXTS: Final = {
    "en": {
        "guest": "Good day, stranger.",
        "user": "Good day, {name}.",
        "visits": "Visits in this session: {count}",
        "language": "Language",
        "name": "Your name",
        "sign_in": "Sign in",
        "sign_in_hint": "Any name will do, there is no password.",
        "sign_out": "Sign out",
        "reset": "Reset, keep my language",
        "shop": "For letters",
        "add": "Add to cart",
        "cart": "Your cart",
        "cart_empty": "Nothing in it yet.",
        "cart_stays": "It has a cookie of its own and outlives your session.",
        "remove": "Remove one",
        "total": "Total",
        "empty": "Empty the cart",
        "note": "A note for the parcel",
        "note_save": "Save the note",
        "no_name": "Please give a name.",
        "full": "Nine of a kind is all we have.",
        "goodbye": "Goodbye.",
        "goodbye_early": "This page signs nobody out: your browser still sends a session. The button in the shop does.",
        "goodbye_text": "You are signed out: the session is gone from your browser. Your cart waits for you.",
        "back": "Back to the shop",
        "wax": "Sealing wax",
        "wax_text": "One red stick, enough for a hundred letters.",
        "envelopes": "Envelopes",
        "envelopes_text": "Twenty-five, lined with blue tissue.",
        "paper": "Letter paper",
        "paper_text": "Fifty cream sheets with a laid finish.",
        "pen": "Fountain pen",
        "pen_text": "Three pages before it asks for ink.",
    },
    "de": {
        "guest": "Guten Tag!",
        "user": "Guten Tag, {name}!",
        "visits": "Besuche in dieser Sitzung: {count}",
        "language": "Sprache",
        "name": "Ihr Name",
        "sign_in": "Anmelden",
        "sign_in_hint": "Jeder Name ist recht, ein Passwort gibt es nicht.",
        "sign_out": "Abmelden",
        "reset": "Zurücksetzen, Sprache behalten",
        "shop": "Alles für Briefe",
        "add": "In den Warenkorb",
        "cart": "Ihr Warenkorb",
        "cart_empty": "Noch ist er leer.",
        "cart_stays": "Er hat ein eigenes Cookie und überlebt Ihre Sitzung.",
        "remove": "Eins weniger",
        "total": "Summe",
        "empty": "Warenkorb leeren",
        "note": "Notiz für das Paket",
        "note_save": "Notiz speichern",
        "no_name": "Bitte geben Sie einen Namen an.",
        "full": "Mehr als neun von einer Sorte haben wir nicht.",
        "goodbye": "Auf Wiedersehen!",
        "goodbye_early": "Diese Seite meldet niemanden ab: Ihr Browser sendet noch eine Sitzung. Das tut die Taste im Laden.",
        "goodbye_text": "Sie sind abgemeldet: Die Sitzung ist aus Ihrem Browser verschwunden. Der Warenkorb wartet auf Sie.",
        "back": "Zurück zum Laden",
        "wax": "Siegellack",
        "wax_text": "Eine rote Stange, genug für hundert Briefe.",
        "envelopes": "Briefumschläge",
        "envelopes_text": "Fünfundzwanzig, mit blauem Seidenfutter.",
        "paper": "Briefpapier",
        "paper_text": "Fünfzig cremefarbene Bogen, gerippt.",
        "pen": "Füllfederhalter",
        "pen_text": "Drei Seiten, bevor er Tinte braucht.",
    },
    "fr": {
        "guest": "Bonjour !",
        "user": "Bonjour, {name} !",
        "visits": "Visites dans cette session : {count}",
        "language": "Langue",
        "name": "Votre nom",
        "sign_in": "Se connecter",
        "sign_in_hint": "N'importe quel nom convient, sans mot de passe.",
        "sign_out": "Se déconnecter",
        "reset": "Réinitialiser, garder ma langue",
        "shop": "Pour écrire des lettres",
        "add": "Ajouter au panier",
        "cart": "Votre panier",
        "cart_empty": "Il est encore vide.",
        "cart_stays": "Il a son propre cookie et survit à votre session.",
        "remove": "En retirer un",
        "total": "Total",
        "empty": "Vider le panier",
        "note": "Un mot pour le colis",
        "note_save": "Enregistrer le mot",
        "no_name": "Veuillez indiquer un nom.",
        "full": "Neuf de chaque, nous n'en avons pas plus.",
        "goodbye": "Au revoir !",
        "goodbye_early": "Cette page ne déconnecte pas : votre navigateur envoie encore une session. Le bouton, oui.",
        "goodbye_text": "Vous êtes déconnecté : la session a quitté votre navigateur. Votre panier vous attend.",
        "back": "Retour à la boutique",
        "wax": "Cire à cacheter",
        "wax_text": "Un bâton rouge, assez pour cent lettres.",
        "envelopes": "Enveloppes",
        "envelopes_text": "Vingt-cinq, doublées de papier bleu.",
        "paper": "Papier à lettres",
        "paper_text": "Cinquante feuilles crème, vergées.",
        "pen": "Stylo-plume",
        "pen_text": "Trois pages avant de demander de l'encre.",
    },
}


def known_locale(value: object) -> str:
    """The locale a session or a link asks for, or the default where there is no such one."""
    return value if isinstance(value, str) and value in LOCALES else DEFAULT_LOCALE


def text(locale: str, name: str) -> str:
    """One of the shop's texts."""
    return _TEXTS[locale][name]


def price(locale: str, cents: int) -> str:
    """An amount in euros as the locale writes it."""
    number = f"{cents // 100}.{cents % 100:02}"
    return f"€{number}" if locale == "en" else f"{number.replace('.', ',')}\u00a0€"
