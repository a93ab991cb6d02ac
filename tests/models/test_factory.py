"""The source factory: the user's own networks, found in the user's own project."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.factory import open_factory
from pytest_visualbias.models.identity import identify_factory
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.model_entries import FactoryModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.models.torch_encoder import TorchEncoder

    Opened = Callable[..., TorchEncoder]
    Saved = Callable[..., Any]

pytestmark = pytest.mark.torch

NETS = """\
import torch

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))

def make():
    return Net()

def number():
    return 3

def fail():
    raise KeyError("no such width")

constant = 3
"""


@pytest.fixture(autouse=True)
def own_modules() -> Iterator[None]:
    """Modules of one test's project are not those of the next."""
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if not name.startswith(("torch", "PIL", "timm")):
            del sys.modules[name]


@pytest.fixture
def opened(context: Context) -> Opened:
    """Encoder of a factory entry's n-th identity."""

    def encoder(call: str, number: int = 0, **keys: Any) -> TorchEncoder:  # noqa: ANN401
        entry = FactoryModel.model_validate(
            {"source": "factory", "call": call, "transform": {"size": 8}, **keys}
        )
        return open_factory(entry, identify_factory(entry, context)[number], context)

    return encoder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("vb_nets.py", "vb_nets:make"),
        ("vb_pkg/nets.py", "vb_pkg.nets:make"),
        ("vb_pkg/__init__.py", "vb_pkg:make"),
        ("vb_pkg/sub/__init__.py", "vb_pkg.sub:make"),
        ("src/vb_nets.py", "vb_nets:make"),
        ("src/vb_pkg/nets.py", "vb_pkg.nets:make"),
        ("specs/vb_nets.py", "vb_nets:make"),
    ],
)
def test_a_module_is_found_in_the_project_its_src_or_beside_the_spec(
    place: str, call: str, opened: Opened, context: Context, images: list[Image.Image]
) -> None:
    write(context.project / place, NETS)
    encoder = opened(call)
    assert encoder.description["architecture"] == call
    found = encoder.encode([encoder.prepare(image) for image in images], [_pooled()])
    assert found["pooled"].shape == (5, 4)


def _pooled() -> Any:  # noqa: ANN401
    return parse_layer_point("pooled", "pooled")


def test_nothing_is_left_on_the_path(opened: Opened, context: Context) -> None:
    write(context.project / "vb_nets.py", NETS)
    before = [*sys.path]
    opened("vb_nets:make")
    with pytest.raises(EncoderError):
        opened("vb_nets:fail")
    assert sys.path == before


ADDING = """\
import sys
sys.path.insert(0, "{vendor}")
import vb_first

def make():
    return vb_first.Net()

def later():
    import vb_second
    return vb_second.Net()
"""


def test_what_a_module_adds_to_the_path_is_its_own(opened: Opened, context: Context) -> None:
    """Neither the next model's imports nor the keys of its vectors may hang on it."""
    vendor = context.project / "vendor"
    for name in ("vb_first", "vb_second"):
        write(vendor / f"{name}.py", NETS)
    write(context.project / "vb_adding.py", ADDING.format(vendor=vendor))
    write(context.project / "vb_other.py", f"import vb_second\n\n{NETS}")
    entry = FactoryModel.model_validate(
        {"source": "factory", "call": "vb_adding:make", "transform": {"size": 8}}
    )
    before, facts = [*sys.path], identify_factory(entry, context)[0].facts
    opened("vb_adding:make")
    assert sys.path == before
    assert identify_factory(entry, context)[0].facts == facts
    with pytest.raises(EncoderError, match="No module named 'vb_second'"):
        opened("vb_other:make")
    assert opened("vb_adding:later").description["architecture"] == "vb_adding:later"
    assert sys.path == before, "it finds its own again, though it is imported once"


def test_a_function_may_import_from_its_project_when_it_is_called(
    opened: Opened, context: Context
) -> None:
    write(context.project / "vb_nets.py", NETS)
    write(
        context.project / "vb_lazy.py",
        "def make():\n    from vb_nets import Net\n    return Net(6)\n",
    )
    assert opened("vb_lazy:make").description["parameters"] == 6 * (3 * 9 + 1)


def test_a_module_may_import_its_neighbours(opened: Opened, context: Context) -> None:
    write(context.project / "src/vb_pkg/__init__.py", "")
    write(context.project / "src/vb_pkg/nets.py", NETS)
    text = "from .nets import Net\nfrom vb_pkg import nets\n\ndef make():\n    return nets.Net(2)\n"
    write(context.project / "src/vb_pkg/api.py", text)
    assert opened("vb_pkg.api:make").description["parameters"] == 2 * (3 * 9 + 1)


def test_a_module_of_the_same_name_from_elsewhere_is_not_taken_for_it(
    opened: Opened, context: Context
) -> None:
    """Another project's `nets` may have been imported before: its weights are not ours."""
    write(context.project / "vb_nets.py", NETS)
    opened("vb_nets:make")
    other = type(context)(folder=context.folder, project=context.project / "other", device="cpu")
    write(other.project / "vb_nets.py", NETS)
    entry = FactoryModel.model_validate(
        {"source": "factory", "call": "vb_nets:make", "transform": {"size": 8}}
    )
    with pytest.raises(EncoderError, match=r"'vb_nets' is .+ here, not .+; rename the module"):
        open_factory(entry, identify_factory(entry, other)[0], other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("vb_nets:mak", "'mak'.+'make'"),
        ("vb_nets:constant", "'constant'"),
        ("vb_nets:number", "'vb_nets:number'.+ int"),
        ("vb_nets:fail", "'vb_nets:fail'.+KeyError: 'no such width'"),
        ("vb_raises:make", "'vb_raises'.+ZeroDivisionError"),
        ("vb_missing:make", "'vb_missing'"),
        ("vb_needs:make", "'vb_needs'.+ModuleNotFoundError"),
    ],
)
def test_a_call_that_gives_no_network_is_an_error(
    call: str, message: str, opened: Opened, context: Context
) -> None:
    write(context.project / "vb_nets.py", NETS)
    write(context.project / "vb_raises.py", "1 / 0\n")
    write(context.project / "vb_needs.py", "import vb_not_installed\n")
    with pytest.raises(EncoderError, match=message):
        opened(call)


def test_a_class_is_as_good_as_a_function(opened: Opened, context: Context) -> None:
    write(context.project / "vb_nets.py", NETS)
    assert opened("vb_nets:Net").description["parameters"] == 4 * (3 * 9 + 1)


def test_a_syntax_error_is_told_with_its_line(opened: Opened, context: Context) -> None:
    write(context.project / "vb_nets.py", "import torch\n\ndef make(:\n")
    with pytest.raises(EncoderError, match=r"vb_nets\.py:3 is not Python \(.+\); correct it"):
        opened("vb_nets:make")


class TestWeights:
    def test_a_network_of_its_own_weights_is_told_apart_by_them(
        self, opened: Opened, context: Context
    ) -> None:
        text = f"{NETS}\ndef ones():\n    net = Net()\n    torch.nn.init.ones_(net.conv.weight)\n"
        write(context.project / "vb_nets.py", f"{text}    return net\n")
        assert opened("vb_nets:make").weights != opened("vb_nets:ones").weights


def test_the_function_is_called_with_the_arguments_of_the_entry(
    opened: Opened, context: Context
) -> None:
    write(context.project / "vb_nets.py", NETS)
    encoder = opened("vb_nets:Net", arguments={"width": 6})
    assert encoder.description["parameters"] == 6 * (3 * 3 * 3 + 1)
    entries = [
        FactoryModel.model_validate(
            {"source": "factory", "call": "vb_nets:Net", "transform": {"size": 8}, **keys}
        )
        for keys in ({}, {"arguments": {"width": 6}})
    ]
    prints = {identify_factory(entry, context)[0].fingerprint() for entry in entries}
    assert len(prints) == 2
    with pytest.raises(EncoderError, match="unexpected keyword argument"):
        opened("vb_nets:Net", arguments={"wide": 6})


HEADED = """\
import torch

class Net(torch.nn.Module):
    def __init__(self, classes, end):
        super().__init__()
        torch.manual_seed(classes)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU())
        self.neck = torch.nn.Linear(6, 6)
        if end == "head":
            layers = torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, classes)
            self.head = torch.nn.Sequential(*layers)
        else:
            self.fc = torch.nn.Linear(6, classes)
        if end == "two":
            self.pick = torch.nn.Linear(6, classes)
        self.end = end

    def features(self, x):
        return self.neck(self.body(x).mean((2, 3)))

    def forward(self, x):
        x = self.features(x)
        if self.end == "head":
            return self.head(x)
        if self.end == "two":
            return self.fc(x).softmax(1) @ self.pick.weight
        return self.fc(x).cos() if self.end == "cos" else self.fc(x)

def make(classes=2, end="fc"):
    return Net(classes, end)
"""


class TestAnotherNumberOfClasses:
    """The classifier of a checkpoint is left out if its classes are the only difference."""

    @pytest.fixture
    def saved(self, context: Context) -> Saved:
        """Save a network of ten classes, with changed weights; return it."""
        write(context.project / "vb_nets.py", HEADED)

        def save(end: str, **changes: torch.Tensor) -> Any:  # noqa: ANN401
            space: dict[str, Any] = {}
            exec(HEADED, space)
            net = space["make"](10, end).eval()
            torch.save({**net.state_dict(), **changes}, context.folder / "ten.pt")
            return net

        return save

    @pytest.mark.parametrize(("end", "layer"), [("fc", "fc"), ("head", "head.2")])
    def test_the_features_are_those_of_the_checkpoint(
        self, end: str, layer: str, opened: Opened, saved: Saved, images: list[Image.Image]
    ) -> None:
        net = saved(end)
        encoder = opened("vb_nets:make", checkpoint="ten.pt", arguments={"end": end})
        inputs = [encoder.prepare(image) for image in images]
        with torch.inference_mode():
            features = net.features(torch.from_numpy(np.stack(inputs)))
            expected = features if end == "fc" else net.head[:2](features)
        found = encoder.encode(inputs, [_pooled()])["pooled"]
        assert np.allclose(found, expected, atol=1e-6)
        assert encoder.description["left_out"] == [f"{layer}. (2 weights)"]
        assert (encoder.read_out.module, encoder.read_out.side) == (layer, "input")

    @pytest.mark.parametrize("layer", ["output", "logits", "probabilities", "head", "head.2"])
    def test_what_its_classifier_returns_cannot_be_read(
        self, layer: str, opened: Opened, saved: Saved, images: list[Image.Image]
    ) -> None:
        saved("head")
        encoder = opened("vb_nets:make", checkpoint="ten.pt", arguments={"end": "head"})
        point = parse_layer_point(layer, layer)
        with pytest.raises(EncoderError, match=rf"'{layer}': .+ 10 classes, the network's 2"):
            encoder.encode([encoder.prepare(images[0])], [point])
        assert layer not in encoder.layers()
        assert "head.0" in encoder.layers()

    @pytest.mark.parametrize(
        ("end", "changes"),
        [
            ("two", {}),
            ("cos", {}),  # its output is not that of the layer
            ("fc", {"neck.weight": torch.zeros(6, 7)}),
            ("fc", {"fc.bias": torch.zeros(11)}),
            ("fc", {"fc.weight": torch.zeros(10, 7)}),
            ("fc", {"further.weight": torch.zeros(3)}),
        ],
    )
    def test_every_other_misfit_is_an_error(
        self, end: str, changes: dict[str, torch.Tensor], opened: Opened, saved: Saved
    ) -> None:
        saved(end, **changes)
        with pytest.raises(EncoderError, match="does not fit the network"):
            opened("vb_nets:make", checkpoint="ten.pt", arguments={"end": end})
