"""Recipes against the paper's tables."""

import pytest

from training.recipe import FOLDER, RecipeError, from_dict, load_recipe

NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_and_survives_json(name):
    recipe = load_recipe(name)
    assert from_dict(recipe.to_dict()) == recipe
    assert recipe.augmentation.window >= 0 and recipe.steps > 0


def test_small_is_the_papers_table_1_2_and_4():
    recipe = load_recipe("small")
    assert recipe.sampling.patch == (128, 128, 128) and recipe.sampling.batch == 4
    assert recipe.sampling.spacing == (2.42, 1.95, 1.95)
    assert recipe.network.features[0] == 16 and len(recipe.network.strides) == 5
    assert (recipe.optimisation.optimizer, recipe.optimisation.rate) == ("sgd", 0.01)
    assert recipe.optimisation.momentum == 0.99 and recipe.optimisation.epochs == 1000
    assert recipe.loss.selected == (14,)
    net = recipe.network.architecture()
    assert net.parameters() == pytest.approx(5.65e6, rel=1e-3)
    assert net.macs(recipe.sampling.patch) == pytest.approx(119.8e9, rel=1e-3)


def test_default_and_tiny_are_table_2():
    default, tiny = load_recipe("default"), load_recipe("tiny")
    assert default.sampling.patch == (56, 192, 160)
    assert default.network.features == (32, 64, 128, 256, 320, 320)
    assert tiny.sampling.patch == (80, 96, 96) and tiny.network.features[0] == 8


def test_cascades_differ_in_the_loss_alone():
    p, n = load_recipe("p_cascade"), load_recipe("n_cascade")
    assert p.network == n.network and p.network.architecture().inputs == 15
    assert p.loss.selected == (14,) and n.loss.selected == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 'red'", "colour"),
        ("base = 'small'\n[sampling]\npatch = [100, 128, 128]", "divisible"),
        ("base = 'small'\n[loss]\nselected = [99]", "selected"),
        ("base = [", "recipe"),
    ],
)
def test_impossible_recipes_say_why(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))


def test_unknown_name_lists_what_there_is():
    with pytest.raises(RecipeError, match="small"):
        load_recipe("smal")
