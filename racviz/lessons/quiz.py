"""Ten questions on what RAC does and why: as buttons in a notebook, or as text with `mark`.

    lessons.quiz()                           # radio buttons; each answer is checked when asked for
    lessons.quiz_questions()                 # the same questions, to read
    lessons.mark({1: "b", 2: "a"})           # or a list of ten letters; ... for one that is not answered yet

Every choice has a remark, so that a wrong one says what it overlooks. Nothing here is a measured number.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from racviz.exceptions import ParameterError, check
from racviz.lessons.checks import Checked, not_yet, unanswered

LETTERS = "abcd"


@dataclass(frozen=True)
class Question:
    """One question; `options` by letter. Which of them is right, and the remarks, are not shown by its repr."""

    number: int
    lesson: int
    text: str
    options: dict[str, str]
    right: str = field(repr=False)
    remarks: dict[str, str] = field(repr=False)

    def check(self, answer: object) -> Checked:
        """Whether a letter is right, with the remark on it; of anything but a letter of the options, which there are."""
        if unanswered(answer):
            return Checked(None, "Not answered yet.")
        letter = answer.strip().lower().rstrip(".)") if isinstance(answer, str) else answer
        if not isinstance(letter, str) or letter not in self.options:
            return not_yet(f"{answer!r} is none of the letters {', '.join(self.options)}.")
        right = letter == self.right
        again = "" if right else f" Lesson {self.lesson} has it."
        return Checked(right, f"{'Right' if right else 'Not yet'}: {letter}.", self.remarks[letter] + again)

    def __str__(self) -> str:
        return "\n".join([f"{self.number}. {self.text}", *(f"   {letter}. {text}" for letter, text in self.options.items())])

    def to_html(self) -> str:
        rows = "".join(f"<li>{html.escape(text)}</li>" for text in self.options.values())
        return f'<p><b>{self.number}. {html.escape(self.text)}</b></p><ol type="a">{rows}</ol>'


@dataclass(frozen=True)
class Questions(Sequence[Question]):
    """All questions, readable as text and in a notebook."""

    rows: tuple[Question, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    def __repr__(self) -> str:
        return "\n\n".join(map(str, self.rows))

    def _repr_html_(self) -> str:
        return "".join(each.to_html() for each in self.rows)


@dataclass(frozen=True)
class Marked:
    """The answers, marked: how many are right, and what is to be said of each."""

    checked: dict[int, Checked]

    @property
    def score(self) -> int:
        return sum(each.right is True for each in self.checked.values())

    @property
    def of(self) -> int:
        return len(self.checked)

    def summary(self) -> str:
        open_ = sum(each.right is None for each in self.checked.values())
        return f"{self.score} of {self.of} right{f', {open_} not answered yet' if open_ else ''}."

    def __repr__(self) -> str:
        return "\n".join([self.summary(), *(f"{number}. {each!r}" for number, each in self.checked.items())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<div style="margin:2px 0"><b>Question {number}.</b>{each._repr_html_()}</div>'
            for number, each in self.checked.items()
        )
        return f'<p role="status"><b>{self.summary()}</b></p>{rows}'


def quiz_questions() -> Questions:
    """The questions, to be read; answer them by `mark`."""
    return Questions(tuple(_numbered()))


def mark(answers: Mapping[int, str] | Sequence[str]) -> Marked:
    """Mark answers: letters by the number of their question, or in the order of the questions.

    Raises ParameterError for what is neither, and for a question that there is not.
    """
    questions = quiz_questions()
    if isinstance(answers, Mapping):
        given: dict[Any, object] = dict(answers)
        for number in given:
            check(number in range(1, len(questions) + 1), "answers", number, f"numbered from 1 to {len(questions)}")
    elif isinstance(answers, Sequence) and not isinstance(answers, str):
        if len(answers) > len(questions):
            raise ParameterError(f"answers holds {len(answers)} letters; there are {len(questions)} questions.")
        given = dict(enumerate(answers, 1))
    else:
        raise ParameterError(f"answers must be {{1: 'b', 2: 'a', …}} or a list of letters; not {answers!r}.")
    return Marked({each.number: each.check(given.get(each.number)) for each in questions})


def quiz() -> None:
    """Show the quiz: radio buttons where ipywidgets are at hand, and below them the questions as plain text, folded."""
    from IPython.display import HTML, display

    questions = quiz_questions()
    try:
        box = quiz_widget(questions)
    except ImportError:
        box = None
    if box is not None:
        display(box)
    how = "Answer with <code>lessons.mark({1: &quot;b&quot;, 2: &quot;a&quot;})</code> in a cell below."
    title = "The questions as text, for where the buttons do not show"
    opened = " open" if box is None else ""
    display(HTML(f"<details{opened}><summary>{title}</summary>{questions._repr_html_()}<p>{how}</p></details>"))


def quiz_widget(questions: Sequence[Question]) -> Any:
    """A box of radio buttons, a button to check each, and the score; needs ipywidgets."""
    import ipywidgets as widgets

    found: dict[int, Checked] = {each.number: Checked(None, "Not answered yet.") for each in questions}
    score = widgets.HTML(f'<p role="status"><b>{Marked(found).summary()}</b></p>')
    parts = []
    for question in questions:
        choice = widgets.RadioButtons(
            options=[(f"{letter}. {text}", letter) for letter, text in question.options.items()], value=None,
            layout=widgets.Layout(width="auto", max_width="60em"),
        )  # fmt: skip
        said = widgets.HTML()
        button = widgets.Button(description="Check", tooltip=f"Check the answer to question {question.number}")

        def checked(_, question=question, choice=choice, said=said) -> None:
            found[question.number] = question.check(choice.value)
            said.value = found[question.number]._repr_html_()
            score.value = f'<p role="status"><b>{Marked(found).summary()}</b></p>'

        button.on_click(checked)
        head = widgets.HTML(f'<b style="line-height:1.4">{question.number}. {html.escape(question.text)}</b>')
        parts.append(widgets.VBox([head, choice, button, said], layout=widgets.Layout(margin="0 0 14px 0")))
    return widgets.VBox([*parts, score])


def _numbered() -> Iterator[Question]:
    for number, (lesson, text, place, *choices) in enumerate(_QUESTIONS, 1):
        texts = {letter: words for letter, (words, _) in zip(LETTERS, choices, strict=False)}
        remarks = {letter: remark for letter, (_, remark) in zip(LETTERS, choices, strict=False)}
        yield Question(number, lesson, text, texts, LETTERS[place], remarks)


# lesson, question, place of the right choice, then each choice with the remark on it
_QUESTIONS: tuple[tuple[Any, ...], ...] = (
    (
        1, "A reasoning model answers a problem. Of which tokens does it process most?", 1,
        ("Those of the problem, since every later token attends to them",
         "Attention looks back at them, but each is run through the linears once only, and there are few of them."),
        ("Those of its own chain of thought",
         "Prompts are short and thoughts are long, so most of what goes through the linears is text that the model wrote "
         "itself."),
        ("Those of the final answer, which is what is graded",
         "The answer is a short piece after the thought; grading does not make it longer."),
        ("About as many of each kind", "Count them: prompt, thought and answer are of quite different lengths."),
    ),
    (
        1, "Why does the length of the thought decide how long an answer takes?", 2,
        ("Later tokens need more layers than earlier ones, since there is more to take in",
         "Every token goes through all layers, and the weights are the same for each."),
        ("The prompt is read again, whole, for every new token",
         "Its keys and values are kept; it is read once, all of its tokens at the same time."),
        ("Its tokens come one after the other, each in a pass of its own",
         "The prompt goes through in one pass; each token of the thought must wait for the one before it."),
        ("The answer is checked against each step of the thought", "Nobody checks it; the model simply writes on."),
    ),
    (
        3, "What does SparseGPT take from the calibration set?", 0,
        ("The second moments of the inputs of each linear",
         "H, the sum of x xᵀ over calibration tokens, says which inputs matter together: it chooses what goes and how what"
         " stays makes up for it."),
        ("Gradients of the loss, with which the kept weights are trained",
         "There is no loss on answers and no training: each linear is solved once, on its own inputs."),
        ("The right answers, to see which weights solve the problems",
         "It never looks at answers; a wrong thought calibrates as a right one does."),
        ("The sparsity that each layer can bear before its outputs change",
         "The sparsity is given beforehand (here the same for each linear)."),
    ),
    (
        3, "Why are calibration sources compared at the same number of tokens?", 3,
        ("A linear takes only so many tokens at a time", "The second moment is a sum; it takes any number."),
        ("So that each run costs the same", "Nice to have, but it is not what makes the comparison fair."),
        ("So that each source covers the same number of problems, and none has seen more of the task than another",
         "At equal tokens it does not: prompts are short, so many more of them fit."),
        ("More tokens alone improve the estimate, and the source would get the credit",
         "Only what is compared may differ; otherwise the amount of data and its kind cannot be told apart."),
    ),
    (
        3, "What does RAC change, compared with the usual way of pruning?", 1,
        ("The solver: it gives a higher saliency to weights that are used in reasoning",
         "The solver is the same; it may be SparseGPT, Wanda or another."),
        ("The calibration set: the model's own thoughts are in it",
         "The second moments then contain what the linears meet while the model thinks; all else stays as it was."),
        ("The model: it is trained on its own thoughts before pruning", "No weight is trained. The thoughts are only read."),
        ("The prompts: they ask the model to think for longer", "The prompts are not touched."),
    ),
    (
        4, "RAC lets the model that will be pruned write the thoughts itself. What is that good for?", 2,
        ("Its own thoughts are more often right than others'",
         "Whether they are right does not enter; a stronger model's text could be righter and still calibrate worse."),
        ("Thoughts of another model cannot be turned into token ids that this one reads",
         "With a tokenizer in common they can, and calibrating on them runs without a murmur."),
        ("They hold the activations that its own decoding will meet",
         "Text that it would never write leads its activations elsewhere. How much that costs depends on how far the "
         "other's text is."),
        ("It makes the thoughts shorter", "Their length is what it is; calibration only reads them."),
    ),
    (
        4, "The heatmap shows r = e(prompt) / e(rac), token by token. What does blue right of the line say?", 0,
        ("On the thought, prompt-only calibration left the larger error",
         "r is above 1 where the numerator's error is the larger; right of the line is the thought."),
        ("On the thought, RAC left the larger error", "Then the numerator would be the smaller, r below 1, and the colour red."),
        ("The thoughts there are wrong", "The picture knows nothing of right and wrong; it compares hidden states."),
        ("The dense model is unsure of these tokens, so that both errors are large there",
         "The dense model is the reference: its error is 0 everywhere by definition."),
    ),
    (
        4, "For that picture every pruned model reads the dense model's greedy rollouts. Why not its own?", 3,
        ("Pruned models cannot generate", "They can, and in the lesson on cost they do."),
        ("Reading a text is more accurate than writing one, since no token is sampled",
         "It is the same pass through the same layers."),
        ("So that no problem needs an answer", "True of either way, and not the reason."),
        ("There would be nothing to subtract: the texts part",
         "At each place the same token must stand. Two texts that have parted differ for that alone; on one fixed sequence"
         " only the weights do."),
    ),
    (
        4, "Left of the line the heatmap is red: on the prompt, prompt-only calibration does better. What follows?", 1,
        ("RAC failed", "It was not asked to be best everywhere; ask where the model spends its tokens."),
        ("There is a trade, and most tokens are in the thought",
         "With so many zeros to place, what is gained on one kind of input is paid for on another."),
        ("The calibration sets were swapped", "Then the thought would be red and the prompt blue."),
        ("Prompt-only calibration is the one to take, since prompts come first",
         "A thought of hundreds of tokens follows, and every error in it is there for the next token to read."),
    ),
    (
        4, "You format your traces with a chat template that drops the thought of finished turns. What did you calibrate on?", 2,
        ("On RAC, since the traces were the model's own", "Whose traces they were does not help where they are left out."),
        ("On generic text, since without thoughts the tokens are ordinary prose",
         "What is left is still the problems and the answers to them."),
        ("In effect on prompts",
         "Each has a short answer behind it, and that is all. It runs without a warning, which is why one looks: count the"
         " tokens of each phase, or draw the heatmap."),
        ("On nothing: the calibration set is empty", "An empty set would be an error that you see. This one is quiet."),
    ),
)  # fmt: skip
