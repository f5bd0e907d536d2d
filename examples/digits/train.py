"""Train a classifier on N of scikit-learn's 1,797 digits, and say how well it reads others."""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

CLASSIFIERS = {
    "knn": KNeighborsClassifier(n_neighbors=1),
    "logistic": LogisticRegression(max_iter=300),
    "svm": SVC(gamma=0.2, C=10.0),
}
TEST = 500
"""Digits that none is ever trained on: the same for every N and seed."""


def accuracy(n: int, seed: int, classifier: str) -> float:
    """Of one training: which n of the other 1,297 digits it sees is up to the seed."""
    images, digits = load_digits(return_X_y=True)
    images = images / 16.0
    order = np.random.default_rng(0).permutation(len(images))
    test, rest = order[:TEST], order[TEST:]
    train = np.random.default_rng(seed).permutation(rest)[:n]
    if len(set(digits[train])) < 2:  # one kind of digit alone: that is all it can say
        return float(np.mean(digits[test] == digits[train][0]))
    model = CLASSIFIERS[classifier].fit(images[train], digits[train])
    return float(model.score(images[test], digits[test]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--classifier", choices=CLASSIFIERS, required=True)
    args = parser.parse_args()
    print(f"accuracy {accuracy(args.n, args.seed, args.classifier):.4f}")
