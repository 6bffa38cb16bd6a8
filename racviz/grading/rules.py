r"""The rules by which mathematics is graded, each with examples that the tests run.

docs/grading.md holds this table; `python -m racviz.grading.rules` prints it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule and its examples.

    Parameters
    ----------
    name
        A short name, unique in the table.
    says
        The rule, in a sentence or two.
    right
        Pairs of a key and an answer that is right for it. An answer without a box is boxed by the tests.
    wrong
        Pairs of a key and an answer that is wrong for it.
    symmetric
        False where key and answer may not change places.
    """

    name: str
    says: str
    right: tuple[tuple[str, str], ...]
    wrong: tuple[tuple[str, str], ...] = ()
    symmetric: bool = True


RULES = (
    Rule(
        "boxes",
        "The last box counts. Boxes parted only by separators, joining words (or, and) and labels are one list, or one value "
        "if all agree. "
        "Empty boxes do not count; a last box that is cut off is no answer.",
        (("42", r"First \boxed{7}, then \boxed{42}"), ("5", r"\boxed{5}\boxed{}"),
         (r"\frac12", r"\boxed{0.5} or \boxed{\frac{1}{2}}"),
         ("2, 3", r"\boxed{2} or \boxed{3}")),
        (("3", r"\boxed{2} or \boxed{3}"), ("42", r"\boxed{41} \boxed{43} \boxed{42}"), ("4", r"\boxed{4} or \boxed{4")),
        symmetric=False,
    ),
    Rule(
        "no box",
        "Without a box the answer is the text after `####` or the last \"answer is\", else a text of one line, else the last "
        "formula, else the last number. A reason after it is left out; what a sentence denies is no answer.",
        (("18", "#### 18"), ("10", "the total is 10"), (r"\frac{1}{2}", "Adding both,\n$\\frac12$ remains."),
         ("72", "So 48 and 24,\nwhich is 72."), ("4", "The answer is 4, since 2+2=4.")),
        (("4", "nothing at all"), ("3", "It cannot be 3.")),
        symmetric=False,
    ),
    Rule(
        "exact",
        "Numbers are equal exactly. A rounded decimal is not the fraction, root or constant that it stands for.",
        (("0.75", r"\frac34"), (r"\sqrt{5+2\sqrt6}", r"\sqrt2+\sqrt3"), ("8!", "40320"), (r"\sqrt2", r"\sqrt2 \approx 1.414")),
        (("0.33", r"\frac13"), ("3.14", r"\pi"), (r"\frac{1}{500!}", r"\frac{1}{502!}"), ("0.1", "0.10000000000000000001")),
    ),
    Rule(
        "decimals",
        "Repeating decimals are fractions, also with dots after three equal groups. Exponents are read as programs and as "
        "people write them.",
        ((r"0.\overline{3}", r"\frac{1}{3}"), (r"0.1\overline{6}", r"\frac16"), ("6.02e23", r"6.02\times 10^{23}"),
         ("1e-07", "10^{-7}"),
         (r"0.333\ldots", r"\frac13")),
        ((r"3.14159\ldots", r"\pi"), ("1e22", "10^{23}")),
    ),
    Rule(
        "thousands",
        "Commas, thin spaces, spaces and `{,}` before groups of three digits are dropped. A comma before a space parts a "
        "list; `{,}` before other groups is a decimal comma.",
        (("1000", "1,000"), ("1000", r"1{,}000"), ("1000", r"1\,000"), ("1000", "1 000"), ("3.5", "3{,}5"),
         ("100, 200, 300", "100,200,300")),
        (("12", "1,2"), ("1234", "1, 234")),
    ),
    Rule(
        "mixed numbers",
        "A whole number before a fraction of digits is their sum, before a bracket a product.",
        ((r"1\frac{4}{5}", "9/5"), ("1 4/5", "1.8"), ("1½", r"\frac32"), ("2(3)", "6")),
        ((r"1\frac{4}{5}", r"\frac45"), ("2(3)", "5")),
    ),
    Rule(
        "unicode",
        "Mathematical unicode, full-width forms and digits of other scripts are read as TeX and ASCII.",
        (("-5", "−5"), (r"2\pi", "2π"), (r"x^{2}", "x²"), (r"\frac12", "½"), ("42", "４２"), ("42", "٤٢"), (r"\sqrt{2}", "√2")),
        (("5", "−5"),),
    ),
    Rule(
        "layout",
        "Spacing, sizes, colours, fonts, `\\dfrac`, line gaps such as `[2pt]` and `\\left` do not count.",
        ((r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\[2pt]2\end{pmatrix}"),
         (r"\frac12", r"\displaystyle\dfrac{1}{2}"),
         ("(1,2)", r"\left(1,\,2\right)"), ("5", r"\textcolor{red}{5}")),
    ),
    Rule(
        "prose",
        "Words before a value are dropped if they state it (the answer is, we get), never if they change it (not, at least, "
        "about).",
        (("42", r"\text{The answer is } 42"), ("C", r"\text{The answer is (C)}")),
        (("42", r"\text{not } 42"), ("42", r"\text{at least } 42")),
    ),
    Rule(
        "words",
        "Words and letters are compared in order and case as written. Frames, final stops and articles do not count; a "
        "number's word is the number. True and false are the same in any case.",
        ((r"\text{Evelyn}", "Evelyn"), (r"\text{ellipse}", r"\text{an ellipse}"), ("12", r"\text{twelve}"), ("True", r"\text{true}"),
         ("DBAC", "D, B, A, C")),
        (("DBAC", "ABCD"), ("on", "no"), (r"\text{Evelyn}", "evelyn"), ("Alice, Bob", "Bob, Alice")),
    ),
    Rule(
        "options",
        "An option's letter is enough; letter and value together must not contradict the key.",
        ((r"\text{(C)}", r"\textbf{(C)}\ 5"), ("C", r"\text{(C)}"), ("5", r"\textbf{(C)}\ 5")),
        ((r"\text{(C)}", r"\textbf{(B)}\ 5"), (r"\textbf{(C)}\ 5", r"\textbf{(C)}\ 6"), ("C", "c")),
    ),
    Rule(
        "units",
        "Units that differ are wrong, even if one could be converted. One side may leave its unit out, but not those of a "
        "list in which they differ. Scales (million, dozen) are factors.",
        ((r"3\text{ hours}", "3"), (r"15\mbox{ cm}^2", r"15 \text{ square centimeters}"),
         (r"\$18.90", r"18.9 \text{ dollars}"), (r"90^\circ", "90"),
         ("3000000", r"3 \text{ million}")),
        ((r"3\text{ hours}", r"3\text{ minutes}"), (r"15\text{ cm}^2", r"15\text{ cm}"), (r"\$36", "€36"), ("3", "3 million"),
         ("3 red, 2 blue", "3, 2"), (r"120^\circ", r"120^\circ\text{C}"),
         ("2m", "2")),
    ),
    Rule(
        "percent",
        "A percentage is its fraction. Its sign may be missing on one side where the number is 0 or at least 1.",
        ((r"50\%", "0.5"), (r"50\%", "50"), (r"12.5\%", r"12.5 \text{ percent}")),
        ((r"0.5\%", "0.5"), ("50", "0.5")),
    ),
    Rule(
        "ordinals",
        "The ending of an ordinal does not count.",
        (("12", r"12^{\text{th}}"), ("12", "12th"), ("1", "1^{st}")),
        (("12", "13th"),),
    ),
    Rule(
        "bases",
        "A number in a base is its digits and its base. An answer may leave the key's base out; a base that the key has not "
        "is wrong, but for 10.",
        (("52_8", "52_{8}"), ("52_8", "52"), ("52_8", r"52_{\text{eight}}"), ("42", "42_{10}")),
        (("52", "52_8"), ("52_8", "52_9"), ("52_8", "42"), ("528", "52_8")),
        symmetric=False,
    ),
    Rule(
        "complex",
        "i is the imaginary unit; a bar conjugates. An odd root of a negative number is the real one.",
        (("2+2i", "2(1+i)"), ("-i", r"\frac{1}{i}"), ("2i", r"\sqrt{-4}"), ("3-4i", r"\overline{3+4i}"), ("-2", r"\sqrt[3]{-8}")),
        (("1+2i", "1-2i"),),
    ),
    Rule(
        "lists",
        "Values parted by commas, and, or are a list in any order, each as often as written; `\\pm` is two values. Part of a "
        "list is wrong.",
        (("2, 3", r"3 \text{ and } 2"), (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"), ("2, 3", r"x=2 \text{ or } x=3")),
        (("3", "2, 3"), ("1, 1, 2", "1, 2"), ("2", r"\pm 2")),
    ),
    Rule(
        "sets and tuples",
        "Sets have no order and nothing twice, tuples an order. A list is equal to a set of its values, and to a tuple in "
        "its order.",
        ((r"\{1,2\}", "2, 1"), (r"\{1,1,2\}", r"\{2,1\}"), ("(1,2)", "1, 2"), (r"\emptyset", r"\varnothing"),
         (r"\emptyset", r"\{\}"),
         ("(1,2)", "x=1, y=2")),
        (("(1,2)", "(2,1)"), ("(1,2)", r"\{1,2\}"), (r"\emptyset", "0")),
    ),
    Rule(
        "intervals",
        "Intervals, unions, set-builders and inequalities are sets of real numbers. Brackets and ends count.",
        ((r"(-\infty, 3)", "x<3"), ("[-2,7]", r"-2 \le x \le 7"), (r"(-\infty,2)\cup(3,\infty)", r"x<2 \text{ or } x>3"),
         (r"(2,\infty)", r"\{x \mid x>2\}"), (r"\mathbb{R}\setminus\{0\}", r"x \ne 0")),
        (("[1,2]", "(1,2)"), (r"(-\infty, 3)", r"x \le 3"), ("x<3", "y<3"), ("[1,2]", r"\{1,2\}")),
    ),
    Rule(
        "equations",
        "`x = 5` is 5 and not `y = 5`. Equations are equal up to a factor, inequalities up to a positive one. Every number "
        "in a chain of equals must be the key.",
        (("5", "x = 5"), ("5", "5 = x"), ("y = 2x + 3", "2x - y + 3 = 0"), ("5", "2+3=5"), ("x+y<3", "y<3-x")),
        (("x=5", "y=5"), ("5", "4=5"), ("x^2+y^2=1", "x^2+y^2=2")),
    ),
    Rule(
        "conditions and dots",
        "Conditions count, and so do the terms before dots.",
        ((r"1, 2, \ldots, n", r"1,2,\dots,n"), (r"n = 3k, k \in \mathbb{N}", r"n=3k \text{ where } k\in\mathbb N")),
        ((r"1, 2, \ldots, n", r"1, 3, 5, \ldots, 2n-1"), (r"n = 3k, k \in \mathbb{N}", "3"),
         (r"n = 3k, k \in \mathbb{N}", r"n=3k, k\in\mathbb{Z}")),
    ),
    Rule(
        "ratios and times",
        "A ratio is neither its first number nor a fraction; it is equal up to a factor. Times of the day are equal as "
        "written, a.m. and p.m. differ.",
        (("2:1", r"2 \text{ to } 1"), ("2:3", "4:6"), (r"5:30 \text{ p.m.}", "5:30 PM")),
        (("2:1", "2"), ("2:1", "1:2"), (r"5:30\text{ a.m.}", r"5:30\text{ p.m.}")),
    ),
    Rule(
        "matrices",
        "Matrices are equal cell by cell, whatever their brackets; a row is not a column. Bars are a determinant.",
        ((r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"),
         (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2")),
        ((r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),),
    ),
    Rule(
        "formulas",
        "Formulas in the same variables are equal if they agree wherever both have a value. Upper and lower case are "
        "different variables.",
        (("x^2+2x+1", "(x+1)^2"), (r"\cot x", r"\frac{\cos x}{\sin x}"), (r"\sin 2x", r"2\sin x\cos x")),
        ((r"\sqrt{x^2}", "x"), ("2k+2", "2n+2"), ("2A", "2a"), ("x'", "x")),
    ),
)  # fmt: skip


def table() -> str:
    """The rules as a Markdown table with one right and one wrong example each."""
    rows = ["| rule | says | right: key, answer | wrong: key, answer |", "|---|---|---|---|"]
    for rule in RULES:
        says = rule.says.replace("|", r"\|")
        rows.append(f"| {rule.name} | {says} | {_pair(rule.right)} | {_pair(rule.wrong)} |")
    return "\n".join(rows) + "\n"


def _pair(examples: tuple[tuple[str, str], ...]) -> str:
    shown = (f"`{text}`".replace("|", r"\|").replace("\n", " ") for text in (examples[0] if examples else ()))
    return ", ".join(shown) or "–"


if __name__ == "__main__":
    print(table(), end="")
