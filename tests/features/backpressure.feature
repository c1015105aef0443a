@API-1 @DOC-1
Feature: Backpressure
  A queue has a bound. Above it Orch says no at once, says when to ask again, and keeps what it has accepted.

  Background:
    Given the only slot is taken
    And the queue is full

  @ADM-2 @ADM-3 @API-3
  Scenario: A full queue refuses and says when to come back
    When another job is submitted
    Then the answer is 429 with the code QUEUE_FULL
    And its headers say how long to wait
    And it is retriable and tells the depth of the queue
    And nothing was stored for it

  @ADM-2 @CTL-1
  Scenario: Paused intake refuses before any bound is looked at
    Given intake is paused
    When another job is submitted
    Then the answer is 503 with the code INTAKE_PAUSED
    And its headers say how long to wait
    And it names the rule intake-paused
    And nothing was stored for it

  @ADM-2
  Scenario: What was canceled gives its place away
    When a waiting job is canceled
    And another job is submitted
    Then the answer is 202 and names the job

  @ADM-2
  Scenario: Who was accepted is served, whatever came after
    When another job is submitted
    And the slot becomes free
    Then every accepted job ends completed, in the order it came
    And nothing was stored for the one that was refused

  @JOB-3 @ADM-2
  Scenario: Asking again for an accepted job is no new job
    When a waiting job is submitted again
    Then the answer is 200 and calls it a duplicate
