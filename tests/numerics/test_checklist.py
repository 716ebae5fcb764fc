"""Every item of numerics.md section 1 is answered: here those of pure maths, by the names of tests.

The rest is about models, adapters, sampling and runs, and is answered in tests/unit/models,
tests/invariants and tests/learning; `ELSEWHERE` says what each is, so that no number is missing.
"""

from __future__ import annotations

import importlib

import pytest

MASKING, LOGPROBS, KL = "test_masking", "test_logprobs", "test_kl"
ADVANTAGES, POLICY, PREFERENCE = "test_advantages", "test_policy_gradient", "test_preference"
Q, ROLLOUT, TRL = "test_q_learning", "test_rollout", "test_against_trl"

ANSWERS: dict[int, tuple[str, list[tuple[str, str]]]] = {
    2: ("positions", [
        (MASKING, "test_positions_count_real_tokens_from_0"),
    ]),
    4: ("which logit scores which token", [
        (LOGPROBS, "test_logps_equal_the_loop"),
    ]),
    5: ("the mask includes the stop token, by one set of stop tokens", [
        (MASKING, "test_mask_includes_the_stop_token_and_excludes_everything_after"),
        (MASKING, "test_any_of_several_stop_tokens_ends_an_answer"),
    ]),
    6: ("the stop token first", [
        (MASKING, "test_mask_includes_the_stop_token_and_excludes_everything_after"),
        (ADVANTAGES, "test_row_without_response_tokens_gets_no_reward"),
    ]),
    7: ("a sampled pad ends nothing", [
        (MASKING, "test_a_sampled_padding_token_does_not_end_an_answer"),
    ]),
    9: ("no bootstrap beyond the end, cut or not", [
        (ADVANTAGES, "test_advantages_equal_the_double_sum"),
        (Q, "test_target_by_hand_does_not_bootstrap_beyond_the_last_token"),
    ]),
    10: ("log-probabilities at the sampling temperature", [
        (LOGPROBS, "test_logps_equal_the_loop"),
    ]),
    12: ("fp32 log-softmax under bf16", [
        (LOGPROBS, "test_log_softmax_of_bf16_logits_is_computed_in_fp32"),
    ]),
    15: ("one permutation for all; what was measured carries no gradient", [
        (ROLLOUT, "test_a_permutation_orders_every_field_alike"),
        (POLICY, "test_reinforce_moves_the_policy_and_not_the_advantages"),
        (Q, "test_targets_carry_no_gradient"),
        (PREFERENCE,
         "test_kto_gradient_equals_finite_differences_and_leaves_the_reference_point_alone"),
    ]),
    16: ("k1, k2, k3", [
        (KL, "test_k1_and_k3_have_the_true_kl_as_expectation"),
        (KL, "test_k3_of_a_far_token_is_cut_at_10_and_stays_finite"),
    ]),
    17: ("KL in the reward, the score at the last token", [
        (ADVANTAGES, "test_score_lands_on_the_last_response_token_for_both_endings"),
        (ADVANTAGES, "test_rewards_of_tokens_are_added_where_they_stand"),
    ]),
    18: ("KL in the loss has the gradient of the reverse KL", [
        (POLICY, "test_kl_loss_follows_the_exact_gradient_of_the_reverse_kl"),
        (POLICY, "test_plain_estimates_as_losses_would_go_elsewhere"),
        (TRL, "test_grpo"),
    ]),
    20: ("the adaptive controller", [
        (KL, "test_beta_follows_openai_in_numbers_worked_out_by_hand"),
    ]),
    21: ("whitened rewards keep their mean", [
        (MASKING,
         "test_scaling_without_shift_keeps_the_mean_and_is_not_the_inverted_condition"),
    ]),
    22: ("GAE, whatever the padding", [
        (ADVANTAGES, "test_advantages_equal_the_double_sum"),
        (ADVANTAGES, "test_more_right_padding_changes_nothing"),
    ]),
    23: ("returns from unwhitened advantages", [
        (ADVANTAGES, "test_advantages_equal_the_double_sum"),
    ]),
    24: ("whitening, N − 1 or N, and few tokens", [
        (MASKING, "test_whitened_values_have_mean_0_and_variance_1"),
        (MASKING, "test_variance_divides_by_n_minus_one_or_by_n"),
        (MASKING, "test_one_token_alone_has_no_spread"),
    ]),
    25: ("the mean of nothing", [
        (MASKING, "test_nothing_selected_gives_0_and_no_nan"),
        (POLICY, "test_an_empty_minibatch_has_the_loss_0"),
    ]),
    26: ("the clipped loss, both edges, dual clip", [
        (POLICY, "test_policy_loss_equals_the_loop_over_cases"),
        (POLICY, "test_dual_clip_of_one_token_by_hand"),
        (TRL, "test_grpo"),
    ]),
    27: ("the clipped value loss", [
        (POLICY, "test_value_loss_equals_the_loop_over_cases"),
    ]),
    28: ("values and policy share a mask", [
        (POLICY, "test_what_lies_outside_the_response_has_neither_loss_nor_gradient"),
    ]),
    29: ("entropy", [
        (LOGPROBS, "test_entropy_equals_the_loop"),
    ]),
    30: ("diagnostics over response tokens", [
        (POLICY, "test_statistics_are_sums_over_response_tokens"),
        (POLICY, "test_explained_variance_equals_the_loop"),
    ]),
    33: ("micro-batches weighted by the minibatch's tokens", [
        (POLICY, "test_micro_batches_add_up_whatever_their_lengths"),
        (POLICY, "test_mean_of_means_would_differ"),
    ]),
    39: ("the reward model's loss, margin, centring", [
        (PREFERENCE, "test_nll_is_minus_the_log_of_the_win_probability"),
        (PREFERENCE, "test_centring_adds_the_squared_sum_of_both_scores"),
        (TRL, "test_reward_model"),
    ]),
    48: ("A = 0 moves nothing, ρ = 1 clips nothing", [
        (POLICY, "test_no_advantage_gives_no_gradient"),
        (POLICY, "test_at_ratio_1_the_gradient_is_minus_advantage_over_n"),
    ]),
}  # fmt: skip

ELSEWHERE = {
    1: "explicit masks from generation on",
    3: "padding invariance",
    8: "where the reward model reads its score",
    11: "no other logit warpers",
    13: "the first ratio is 1",
    14: "no dropout",
    19: "the reference is the base without adapter",
    31: "target-KL stop",
    32: "one optimiser step for each minibatch",
    34: "gradient clipping",
    35: "Adam and its schedule",
    36: "optimiser state in checkpoints",
    37: "the value head starts at 0",
    38: "the reward head's start",
    40: "the reward head is saved",
    41: "adapters do not unfreeze each other",
    42: "target modules",
    43: "merged equals adapted",
    44: "export in PEFT's format",
    45: "the base is frozen",
    46: "steps that are no numbers",
    47: "determinism and resume",
}


def test_no_item_is_missing_or_answered_twice() -> None:
    assert sorted([*ANSWERS, *ELSEWHERE]) == list(range(1, 49))


@pytest.mark.parametrize("item", ANSWERS)
def test_item_is_answered(item: int) -> None:
    what, tests = ANSWERS[item]
    assert tests, what
    for module, name in tests:
        suite = importlib.import_module(f"tests.numerics.{module}")
        assert callable(getattr(suite, name, None)), f"{item} ({what}): {module}.{name} is gone"
