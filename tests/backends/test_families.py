"""Every family of architectures that open_clip has, tiny and with random weights, by the code that loads real models.

Each is saved as a folder with its configuration and its tokenizer, added to a hub, labelled and selected; what it
embeds is what open_clip itself embeds. Nothing is downloaded: tokenizers and text towers are made here.
"""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from fakes import COLOURS, FakeEncoder
from mllctl import Ensemble, Hub, label_model, load_model, select_models
from mllctl.images import open_image

WIDTH = 16
WORDS = [
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    "a",
    "photo",
    "of",
    "dog",
    "wolf",
    "cat",
    "apple",
    "car",
    "which",
    "is",
    "the",
]
TEXTS = ["a photo of a dog", "cat", "a wolf which is a dog, or the apple of a car"]

CLIP_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}


def timm(name, size, pool, proj):
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
        "image_size": size,
    }


def transformers_text(kind, pooler):
    """A text tower of which configuration and tokenizer lie in a folder beside the model."""
    return {
        "hf_model_name": f"{{folder}}/{kind}",
        "hf_tokenizer_name": f"{{folder}}/{kind}",
        "hf_pooler_type": pooler,
        "hf_proj_type": "mlp",
        "context_length": 16,
    }


COCA_TEXT = {**CLIP_TEXT, "context_length": 15, "embed_cls": True, "output_tokens": True}
DECODER = {"context_length": 15, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1, "attn_pooler_heads": 2}
SIGLIP_TEXT = {
    **CLIP_TEXT,
    "vocab_size": len(WORDS),
    "hf_tokenizer_name": "{folder}",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
# What open_clip's own configurations hold, in small: ViT-B-32, ViT-B-32-quickgelu, RN50, convnext_base_w, ...
FAMILIES = {
    "vit": {"vision_cfg": VIT, "text_cfg": CLIP_TEXT},
    "vit-quickgelu": {"vision_cfg": VIT, "text_cfg": CLIP_TEXT, "quick_gelu": True},
    "resnet": {
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": CLIP_TEXT,
    },
    "convnext": {"vision_cfg": timm("test_convnext", 64, "", "linear"), "text_cfg": CLIP_TEXT},
    "coca": {
        "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": COCA_TEXT,
        "multimodal_cfg": DECODER,
        "custom_text": True,
    },
    "eva": {
        "vision_cfg": timm("small_eva02", 32, "token", None),
        "text_cfg": CLIP_TEXT,
        "custom_text": True,
    },
    "siglip": {
        "vision_cfg": timm("test_vit", 160, "map", "none"),
        "text_cfg": SIGLIP_TEXT,
        "custom_text": True,
        "init_logit_bias": -10,
        "embed_dim": 64,
    },
    "roberta": {"vision_cfg": VIT, "text_cfg": transformers_text("roberta", "mean_pooler")},
    "nllb": {"vision_cfg": VIT, "text_cfg": transformers_text("m2m_100", "cls_pooler"), "init_logit_bias": -10},
    "custom-text": {"vision_cfg": VIT, "text_cfg": {**CLIP_TEXT, "pool_type": "argmax"}, "custom_text": True},
    "clipa": {
        "vision_cfg": {**VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        "text_cfg": {
            **CLIP_TEXT,
            "vocab_size": len(WORDS),
            "hf_tokenizer_name": "{folder}",
            "tokenizer_kwargs": {"strip_sep_token": True},
            "pool_type": "last",
            "no_causal_mask": True,
        },
    },
    "worldwide": {
        "vision_cfg": VIT,
        "text_cfg": {
            **CLIP_TEXT,
            "vocab_size": len(WORDS),
            "hf_tokenizer_name": "{folder}",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "pool_type": "eos",
            "eos_id": WORDS.index("</s>"),
        },
    },
    "mt5": {"vision_cfg": VIT, "text_cfg": transformers_text("mt5", "mean_pooler")},
    "coca-roberta": {
        "vision_cfg": {**VIT, "output_tokens": True},
        "text_cfg": {**transformers_text("roberta", "mean_pooler"), "hf_proj_type": "linear", "output_tokens": True},
        "multimodal_cfg": DECODER,
        "custom_text": True,
    },
    "mobileclip": {
        "vision_cfg": timm("small_mobileclip", 64, "avg", None),
        "text_cfg": {**CLIP_TEXT, "no_causal_mask": True},
        "custom_text": True,
    },
    "vitamin": {"vision_cfg": timm("small_vitamin", 64, "", "linear"), "text_cfg": CLIP_TEXT, "custom_text": True},
    "perception-encoder": {
        "vision_cfg": timm("small_pe_core", 64, "map", None),
        "text_cfg": CLIP_TEXT,
        "custom_text": True,
    },
    "siglip2": {
        "vision_cfg": timm("small_siglip", 32, "map", "none"),
        "text_cfg": {**SIGLIP_TEXT, "act_kwargs": {"approximate": "tanh"}},
        "custom_text": True,
        "init_logit_bias": -10,
        "embed_dim": 32,
    },
    "siglip-i18n": {
        "vision_cfg": timm("small_siglip", 32, "map", "none"),
        "text_cfg": {**SIGLIP_TEXT, "proj_bias": False, "proj_type": "none"},
        "custom_text": True,
        "init_logit_bias": -10,
        "embed_dim": 32,
    },
    "not-square": {"vision_cfg": {**VIT, "image_size": [32, 48]}, "text_cfg": CLIP_TEXT},
}
# Not the default, so that a transform that is not the model's own is seen.
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}


def write_tokenizer(folder, padding_side="right"):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        padding_side=padding_side,
    ).save_pretrained(folder)


def write_text_towers(folder):
    from transformers import M2M100Config, MT5Config, RobertaConfig

    towers = {
        "roberta": RobertaConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        "m2m_100": M2M100Config(
            vocab_size=len(WORDS),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_position_embeddings=32,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        "mt5": MT5Config(
            vocab_size=len(WORDS),
            d_model=16,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=2,
        ),
    }
    for name, config in towers.items():
        config.save_pretrained(folder / name)
        write_tokenizer(folder / name)


def write_model(root, name, towers):
    """Save a model as open_clip does: its configuration, its tensors as safetensors, its tokenizer."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = root / name
    folder.mkdir()
    config = {"embed_dim": WIDTH, **FAMILIES[name]}
    text = dict(config["text_cfg"])
    for key, place in (("hf_model_name", towers), ("hf_tokenizer_name", folder)):
        if key in text:
            text[key] = text[key].format(folder=place)
    config["text_cfg"] = text
    content = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    if "hf_tokenizer_name" in text:
        write_tokenizer(folder)
    torch.manual_seed(3)
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_towers():
    """Architectures of timm that its own tests have no small ones of: the blocks of the large ones, one of each."""
    from timm.models import Eva, eva, fastvit, register_model, vision_transformer, vitamin

    def small_eva02(num_classes, global_pool, **_):
        model = Eva(
            img_size=32,
            patch_size=16,
            embed_dim=32,
            depth=1,
            num_heads=2,
            qkv_fused=False,
            mlp_ratio=8 / 3,
            swiglu_mlp=True,
            scale_mlp=True,
            use_rot_pos_emb=True,
            ref_feat_shape=(2, 2),
            num_classes=num_classes,
            global_pool=global_pool,
        )
        model.default_cfg = {}
        return model

    def small_mobileclip(**kwargs):
        small = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)}
        return fastvit.fastvit_mci0(**small, **kwargs)

    def small_vitamin(**kwargs):
        convolutions = vitamin.VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6)
        stem = vitamin.VitCfg(embed_dim=(8, 16, 32), depths=(1, 1, 1), stem_width=8, conv_cfg=convolutions)
        small = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 64, "embed_cfg": stem}
        return vitamin.vitamin_small_224(**small, **kwargs)

    def small_pe_core(**kwargs):
        small = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 64}
        return eva.vit_pe_core_tiny_patch16_384(**small, ref_feat_shape=(4, 4), attn_pool_num_heads=2, **kwargs)

    def small_siglip(**kwargs):
        small = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 32}
        return vision_transformer.vit_base_patch16_siglip_224(**small, **kwargs)

    # timm takes the module that a model is defined in for one with a list of what it exports.
    for tower in (small_eva02, small_mobileclip, small_vitamin, small_pe_core, small_siglip):
        register_model(tower)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    towers = root / "towers"
    write_text_towers(towers)
    return {name: write_model(root, name, towers) for name in FAMILIES}


@pytest.fixture(scope="module")
def world(tmp_path_factory, painted, folders):
    """The painted hub with a model of every family, labelled by the code that labels any."""
    hub = tmp_path_factory.mktemp("world") / "hub"
    shutil.copytree(painted.hub, hub)
    models = {name: load_model(f"local-dir:{folder}") for name, folder in folders.items()}
    for model in models.values():
        label_model(hub, model)
    pictures = [open_image(str(painted.folder / synset / "0.png")) for synset in COLOURS]
    return SimpleNamespace(hub=hub, models=models, pictures=pictures)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_embeds_as_open_clip_does(world, folders, name):
    import open_clip
    import torch

    source = f"local-dir:{folders[name]}"
    model, transform = open_clip.create_model_from_pretrained(source)
    tokenizer = open_clip.get_tokenizer(source)
    model.eval()
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(picture) for picture in world.pictures]), normalize=True)
        texts = model.encode_text(tokenizer(TEXTS), normalize=True)
    ours = world.models[name]
    np.testing.assert_allclose(ours.encode_images(world.pictures), images, atol=1e-5)
    np.testing.assert_allclose(ours.encode_texts(TEXTS), texts, atol=1e-5)
    assert np.ptp(images.numpy(), axis=0).max() > 1e-3
    assert np.ptp(texts.numpy(), axis=0).max() > 1e-3


def test_every_family_is_a_candidate_and_has_a_key_of_its_own(world):
    with Hub.open(world.hub) as hub:
        selection = select_models(hub, ["dog", "cat", "apple"], encoder=FakeEncoder())
        assert {model.state for model in hub.models()} == {"complete"}
    assert selection.names == tuple(f"local-dir/{name}" for name in FAMILIES if name != "vit-quickgelu")


def test_of_models_with_the_same_weights_the_second_is_left_out(world):
    """Drawn by the same seed, two architectures that differ in their activation alone are one set of weights."""
    with Hub.open(world.hub) as hub:
        selection = select_models(hub, ["dog", "cat", "apple"], encoder=FakeEncoder())
    assert selection.left_out == (("local-dir/vit-quickgelu", "the same weights as local-dir/vit"),)


def test_a_selection_loads_its_models_again_and_predicts(world):
    with Hub.open(world.hub) as hub:
        selection = select_models(hub, ["dog", "cat", "apple"], k=2, encoder=FakeEncoder())
    prediction = Ensemble.from_selection(selection, "uniform").predict(world.pictures)
    assert prediction.confidence.shape == (len(COLOURS), 3)
    assert np.isfinite(prediction.confidence).all()


def test_a_card_says_how_the_model_scores(world):
    cards = {name: model.card for name, model in world.models.items()}
    assert cards["siglip"].logit_bias == cards["nllb"].logit_bias == -10
    assert {cards[name].logit_bias for name in ("vit", "resnet", "coca", "eva", "roberta")} == {0}
    for name, card in cards.items():
        assert card.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
        assert card.embedding_width == FAMILIES[name].get("embed_dim", WIDTH)
        size = FAMILIES[name]["vision_cfg"]["image_size"]
        assert card.image_size == (size if isinstance(size, int) else max(size))
        assert "mean [0.5, 0.4, 0.3]" in card.preprocess
        assert "squash" in card.preprocess


def test_a_card_names_what_its_tokenizer_does_that_others_do_not(world):
    cards = {name: model.card.tokenizer for name, model in world.models.items()}
    assert cards["siglip"].endswith("; clean canonicalize")
    assert cards["clipa"].endswith("; strip_sep_token")
    assert not any(word in cards[name] for word in ("clean", "strip", "mode") for name in ("vit", "roberta", "mt5"))


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_padding_on_either_side_and_in_a_text_is_masked_as_open_clip_masks_it(
    folders, tmp_path, monkeypatch, padding_side
):
    import open_clip
    import torch

    folder = shutil.copytree(folders["roberta"], tmp_path / "roberta")
    write_tokenizer(folder, padding_side)
    texts = [*TEXTS, "", "dog <pad> cat"]
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
        vectors = model.encode_text(tokens, normalize=True)
    assert (tokens[4] == 0).sum() > (tokens[2] == 0).sum(), "the padding in the text is read as padding"
    np.testing.assert_allclose(load_model(f"local-dir:{folder}").encode_texts(texts), vectors, atol=1e-5)


def test_a_bias_of_all_classes_changes_no_confidence(world):
    from mllctl.kernels.ensemble import softmax

    siglip = world.models["siglip"]
    cosine = siglip.encode_images(world.pictures).astype(np.float64) @ siglip.encode_texts(TEXTS).T
    scaled = siglip.card.logit_scale * cosine
    np.testing.assert_allclose(softmax(scaled), softmax(scaled + siglip.card.logit_bias), atol=1e-12)


def test_activations_of_one_name_are_told_apart(world):
    plain, quick = world.models["vit"], world.models["vit-quickgelu"]
    assert plain.card.fingerprint == quick.card.fingerprint
    assert np.abs(plain.encode_images(world.pictures) - quick.encode_images(world.pictures)).max() > 1e-5
