"""Texts: an operation on a text counts as one comparison, whatever its length, so that all of these are estimates."""

from __future__ import annotations

import pytest
from truth import Case, case, check, f32, t

MS = "com.microsoft"
GRAMS = {
    "mode": "TF",
    "min_gram_length": 1,
    "max_gram_length": 3,
    "max_skip_count": 2,
    "ngram_counts": [0, 2, 4],
    "ngram_indexes": [0, 1, 2, 6],
    "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8],
}
TOKENS = {"mark": 0, "mincharnum": 1, "pad_value": "#", "separators": [" "]}

CASES = [
    case("StringConcat", [t("string", 2, 1), t("string", 3)], t("string", 2, 3), trust="estimate"),
    case("StringConcat", [t("string", "n"), t("string", 1)], t("string", "n"), trust="estimate"),
    case(
        "StringSplit",
        [t("string", 2, "n")],
        [t("string", 2, "n", "node.pieces"), t("i64", 2, "n")],
        attrs={"delimiter": ","},
        work={"compare": "2*n"},
        trust="estimate",
    ),
    case("RegexFullMatch", [t("string", 2, 3)], t("bool", 2, 3), attrs={"pattern": "a+"}, work={"compare": 6},
         trust="estimate"),
    # 5 texts against 2 stop words; what is left is data. A change of case is one conversion of each that is left.
    case(
        "StringNormalizer",
        [t("string", 1, 5)],
        t("string", 1, "node.kept"),
        attrs={"stopwords": ["a", "b"], "case_change_action": "UPPER"},
        work={"compare": 10, "convert": "node.kept"},
        trust="estimate",
    ),
    case("StringNormalizer", [t("string", "n")], t("string", "n"), attrs={"case_change_action": "LOWER"},
         work={"convert": "n"}, trust="estimate"),
    # 7 = the largest index + 1. 12 items start n-grams of up to 3 items at 3 distances: 12*3*3 look-ups. Single items
    # are counted once, pairs and triples at each distance: 12*(1 + 2*3) additions.
    case("TfIdfVectorizer", [t("i64", 12)], f32(7), attrs=GRAMS, work={"compare": 108, "add": 84}, trust="bound"),
    case(
        "TfIdfVectorizer",
        [t("i32", "n", 6)],
        f32("n", 7),
        attrs=GRAMS | {"mode": "TFIDF", "weights": [1.0] * 7},
        work={"compare": "54*n", "add": "42*n", "mul": "7*n"},
        trust="bound",
    ),
    # Single items only: one distance. IDF asks of each output whether its n-gram was there.
    case(
        "TfIdfVectorizer",
        [t("i64", 12)],
        f32(2),
        attrs=GRAMS | {"mode": "IDF", "max_gram_length": 1, "ngram_counts": [0], "ngram_indexes": [0, 1],
                       "pool_int64s": [2, 3]},
        work={"compare": 12 + 2, "add": 12},
        trust="bound",
    ),
    case("Tokenizer", [t("string", "n")], t("string", "n", "node.tokens"), attrs=TOKENS, domain=MS,
         work={"compare": "n"}, trust="estimate"),
    case("Tokenizer", [t("string", 2, 3)], t("string", 2, 3, "node.tokens"), attrs=TOKENS, domain=MS,
         work={"compare": 6}, trust="estimate"),
    # One block of 4 bytes: 3 mul, 1 add, two rotations of 3 and a xor; the end: 2 mul, a xor, three shift-and-xors.
    case("MurmurHash3", [t("i32", 10)], t("u32", 10), domain=MS, work={"mul": 50, "add": 10, "logic": 140}),
    # Two blocks: 6 + 2 mul, 2 add, 14 + 7 logic.
    case("MurmurHash3", [t("f64", "n")], t("i32", "n"), attrs={"positive": 0}, domain=MS,
         work={"mul": "8*n", "add": "2*n", "logic": "21*n"}),
    case("MurmurHash3", [t("string", 10)], t("u32", 10), domain=MS, work={"mul": 50, "add": 10, "logic": 140},
         trust="estimate"),
]  # fmt: skip


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)
